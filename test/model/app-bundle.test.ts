import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const APP = join(import.meta.dirname, '../../dist/app')

function read(file: string): string {
  return readFileSync(join(APP, file), 'utf8')
}

const AT_ONCE = [/^import (?:[^"]*? from )?"([^"]+)";$/gm]
const LATER = [...AT_ONCE, /\bimport\("(\.\/[^"]+)"\)/g]

/** Files that loading `entries` loads, and what they import from elsewhere; with `LATER` also what they may load later. */
function loadedBy(entries: readonly string[], imports = AT_ONCE) {
  const files = new Set<string>()
  const others = new Set<string>()
  const open = [...entries]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue
    files.add(file)
    const text = read(file)
    for (const [, name = ''] of imports.flatMap((pattern) => [...text.matchAll(pattern)])) {
      if (name.startsWith('./')) open.push(name.slice(2))
      else others.add(name)
    }
  }
  return { files: [...files], others: [...others] }
}

/** The chunk that `file` loads later. Of the newest build: older chunks stay for servers that run. */
function chunk(file: string, name: string): string {
  const found = new RegExp(`import\\("\\./(${name}-[^"]+\\.js)"\\)`).exec(read(file))?.[1]
  if (found === undefined) throw new Error(`${file} loads no ${name}`)
  return found
}

/** What every `serve` loads, in turn. */
function startOfServer(): string[] {
  const serve = chunk('main.js', 'serve-model')
  return ['main.js', serve, chunk(serve, 'running-server')]
}

const ALL = ['main.js', 'engine-process.js']

it('a server starts from a few files, and none of them is for fetching weights', () => {
  const { files, others } = loadedBy(startOfServer())
  expect(files.length).toBeLessThan(40)
  expect(others.filter((name) => !isBuiltin(name))).toEqual([])
  expect(files.filter((file) => read(file).includes('EnvHttpProxyAgent'))).toEqual([])
})

it('what a server may load later is seen too: that is where weights are fetched', () => {
  const { files } = loadedBy(ALL, LATER)
  expect(files).toEqual(expect.arrayContaining(startOfServer()))
  expect(files.filter((file) => read(file).includes('EnvHttpProxyAgent'))).toEqual([
    expect.stringMatching(/^remote-sources-/),
  ])
})

it('the bundle is ASCII, because V8 keeps any other text at two bytes a character', () => {
  const { files } = loadedBy(ALL, LATER)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  expect(files.filter((file) => /[^\x00-\x7f]/.test(read(file)))).toEqual([])
})

it('every chunk has its map, so a stack can be shown in TypeScript', () => {
  const names = readdirSync(APP)
  const { files } = loadedBy(ALL, LATER)
  const bare = files.filter((file) => !names.includes(`${file}.map`))
  // The bundler’s own lines come from no file.
  expect(bare.filter((file) => !file.startsWith('rolldown-runtime'))).toEqual([])
})
