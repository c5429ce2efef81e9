import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const APP = join(import.meta.dirname, '../../dist/app')

/** Files that loading `entries` loads, and what they import from elsewhere. */
function loadedBy(...entries: string[]) {
  const files = new Set<string>()
  const others = new Set<string>()
  const open = [...entries]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue
    files.add(file)
    const text = readFileSync(join(APP, file), 'utf8')
    for (const [, name = ''] of text.matchAll(/^import (?:[^"]*? from )?"([^"]+)";$/gm)) {
      if (name.startsWith('./')) open.push(name.slice(2))
      else others.add(name)
    }
  }
  return { files: [...files], others: [...others] }
}

/** Of the newest build: older chunks stay for servers that run. */
function chunk(name: string): string {
  const main = readFileSync(join(APP, 'main.js'), 'utf8')
  const found = new RegExp(`import\\("\\./(${name}-[^"]+\\.js)"\\)`).exec(main)?.[1]
  if (found === undefined) throw new Error(`main.js loads no ${name}`)
  return found
}

it('a server starts from a few files, and none of them is for fetching weights', () => {
  const { files, others } = loadedBy('main.js', chunk('serve-model'))
  expect(files.length).toBeLessThan(40)
  expect(others.filter((name) => !isBuiltin(name))).toEqual([])
  const text = files.map((file) => readFileSync(join(APP, file), 'utf8')).join('')
  expect(text).not.toContain('EnvHttpProxyAgent')
})

it('the bundle is ASCII, because V8 keeps any other text at two bytes a character', () => {
  const { files } = loadedBy('main.js', chunk('serve-model'), 'engine-process.js')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  const strange = files.filter((file) => /[^\x00-\x7f]/.test(readFileSync(join(APP, file), 'utf8')))
  expect(strange).toEqual([])
})

it('every chunk has its map, so a stack can be shown in TypeScript', () => {
  const names = readdirSync(APP)
  const { files } = loadedBy('main.js', chunk('serve-model'), 'engine-process.js')
  const bare = files.filter((file) => !names.includes(`${file}.map`))
  // The bundler’s own lines come from no file.
  expect(bare.filter((file) => !file.startsWith('rolldown-runtime'))).toEqual([])
})
