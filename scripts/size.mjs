/** Prints lines a room, and the change against a commit (`npm run size -- main`): size is reviewed like speed. */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const SOURCES = /\.(ts|rs|mjs)$/
const base = process.argv[2] ?? 'HEAD'

function git(...args) {
  return execFileSync('git', args, { encoding: 'utf8', maxBuffer: 2 ** 28 })
}

function roomOf(file) {
  const [first, second] = file.split('/')
  const hasRooms = ['src', 'native', 'test'].includes(first) && file.split('/').length > 2
  return hasRooms ? `${first}/${second}` : first
}

function countLines(files, read) {
  const rooms = new Map()
  for (const file of files.filter((name) => SOURCES.test(name))) {
    const lines = read(file).split('\n').length - 1
    const room = rooms.get(roomOf(file)) ?? { files: 0, lines: 0, largest: 0 }
    room.files += 1
    room.lines += lines
    room.largest = Math.max(room.largest, lines)
    rooms.set(roomOf(file), room)
  }
  return rooms
}

function isPresent(file) {
  try {
    readFileSync(file)
    return true
  } catch {
    // Listed by git, deleted in the working tree: it has no lines any more.
    return false
  }
}

const listed = git('ls-files', '--cached', '--others', '--exclude-standard').trim().split('\n')
const now = countLines(listed.filter(isPresent), (file) => readFileSync(file, 'utf8'))
const before = countLines(git('ls-tree', '-r', '--name-only', base).trim().split('\n'), (file) =>
  git('show', `${base}:${file}`),
)

let total = 0
let totalBefore = 0
console.log(`${'room'.padEnd(22)} files  lines  largest  change against ${base}`)
for (const name of [...new Set([...now.keys(), ...before.keys()])].sort()) {
  const { files, lines, largest } = now.get(name) ?? { files: 0, lines: 0, largest: 0 }
  const change = lines - (before.get(name)?.lines ?? 0)
  total += lines
  totalBefore += before.get(name)?.lines ?? 0
  const cells = [String(files).padStart(5), String(lines).padStart(6), String(largest).padStart(8)]
  console.log(`${name.padEnd(22)} ${cells.join(' ')}  ${change > 0 ? '+' : ''}${change}`)
}
console.log(`total ${total} lines, ${total - totalBefore >= 0 ? '+' : ''}${total - totalBefore}`)
