import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { renderConfiguration, renderErrors } from '../../../scripts/render-docs.mjs'
import { allErrorTables } from '../../../src/base/errors.ts'
import { defaultText } from '../../../src/cli/config-flags.ts'
import { OPTIONS } from '../../../src/config/options.ts'

const ROOT = join(import.meta.dirname, '../../..')

/** Every file of a kind below the product's folders. */
function sources(pattern: RegExp): string[] {
  return ['src', 'models', 'native'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => pattern.test(name) && !/node_modules|target/.test(name))
      .map((name) => join(ROOT, folder, name)),
  )
}

beforeAll(async () => {
  for (const file of sources(/(^|\/)errors\.ts$/)) await import(pathToFileURL(file).href)
})

describe('error tables', () => {
  it('have each code once', () => {
    const codes = allErrorTables().flatMap(({ table }) => Object.keys(table))
    expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([])
  })

  it('name codes after their room, with a status that HTTP has and a message', () => {
    for (const { table } of allErrorTables()) {
      for (const [code, { status, message }] of Object.entries(table)) {
        expect(code).toMatch(/^[A-Z]+(_[A-Z0-9]+)+$/)
        expect(status).toBeGreaterThanOrEqual(400)
        expect(status).toBeLessThan(600)
        expect(message.length).toBeGreaterThan(20)
      }
    }
  })

  it('stand in docs/errors.md as they are', () => {
    const written = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')
    expect(written, 'run: npm run docs').toBe(renderErrors(allErrorTables()))
  })

  it('have no code that nothing throws', () => {
    // In errors.ts a code is also a key and a member of a type; there only a call throws it.
    const thrown = sources(/\.(ts|rs)$/).flatMap((file) => {
      const text = readFileSync(file, 'utf8')
      const pattern = /errors\.ts$/.test(file) ? /\(\s*'([A-Z_]+)'/g : /["']([A-Z_]+)["']/g
      return [...text.matchAll(pattern)].map(([, code]) => code)
    })
    const known = new Set(thrown)
    const codes = allErrorTables().flatMap(({ table }) => Object.keys(table))
    expect(codes.filter((code) => !known.has(code))).toEqual([])
  })
})

it('docs/configuration.md lists the settings as they are', () => {
  const written = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')
  expect(written, 'run: npm run docs').toBe(renderConfiguration(OPTIONS, defaultText))
})
