import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EXIT } from '../../../src/cli/errors.ts'
import { runProgram } from '../../../src/cli/program.ts'

const EXAMPLE = join(import.meta.dirname, '../../../examples/ingot.yaml')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ingot-config-'))
  vi.stubEnv('INGOT_HOME', join(folder, 'home'))
  vi.stubEnv('INGOT_CONFIG', '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const take = (add: (text: string) => void) => (text: string | Uint8Array) => {
    add(String(text))
    return true
  }
  vi.spyOn(process.stdout, 'write').mockImplementation(take((text) => (out += text)))
  vi.spyOn(process.stderr, 'write').mockImplementation(take((text) => (err += text)))
  const code = await runProgram(['config', ...args])
  return { code, out: out.replaceAll(folder, ''), err: err.replaceAll(folder, '') }
}

function file(text: string, name = 'ingot.yaml'): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('ingot config check', () => {
  it('says what a file declares', async () => {
    const { code, out, err } = await run('check', EXAMPLE)
    expect({ code, err }).toEqual({ code: EXIT.done, err: '' })
    expect(out).toContain('examples/ingot.yaml is well: 3 settings, 3 endpoints, 2 aliases')
    expect(out).toMatch(/server\.port +8000 +server\.port in .*examples\/ingot\.yaml/)
    expect(out).toContain('pool: memory budget auto, 1 load at a time')
    expect(out).toMatch(
      /smollm2-dedicated +dedicated +STOPPED +1-2 +pinned \(smollm2-135m-instruct\) +stays +- +none/,
    )
    expect(out).toMatch(/chat +smollm2-variants → smollm2 +int4 or int8, retention none/)
  })

  it('says everything that is wrong, one problem a line, with code 2', async () => {
    const path = file(`
server: {prot: 1, host: [a]}
sever: {}
endpoints:
  chat: {model: smolm2-135m-instruct, kvMemory: huge}
aliases: {x: caht}
`)
    const { code, out, err } = await run('check', path)
    expect({ code, out }).toEqual({ code: EXIT.usage, out: '' })
    expect(err.split('\n')).toEqual([
      '/ingot.yaml:2:10: "server.prot" is not a setting (did you mean "server.port"?); docs/configuration.md lists them all [CONFIG_UNKNOWN_KEY]',
      '/ingot.yaml:3:1: "sever" is not a setting (did you mean "server"?); docs/configuration.md lists them all [CONFIG_UNKNOWN_KEY]',
      '/ingot.yaml:2:25: expected server.host to be an address or host name, got ["a"] [CONFIG_BAD_VALUE]',
      '/ingot.yaml:5:49: expected endpoints.chat.kvMemory to be a size such as 2GiB, or auto, got "huge" [CONFIG_BAD_VALUE]',
      'ingot: /ingot.yaml: 4 problems; nothing of the file is used until it is well [CONFIG_NOT_WELL]',
      '',
    ])
  })

  it('knows the catalog’s names, and what two settings may not be together', async () => {
    const path = file(
      'endpoints:\n  a: {model: smolm2-135m-instruct}\n  b: {model: ./not-there.gguf}\n',
    )
    const { code, err } = await run('check', path)
    expect(code).toBe(EXIT.usage)
    expect(err).toMatch(
      /^\/ingot\.yaml:2:14: endpoints\.a\.variants\[0\]\.source names no model: .*did you mean "smollm2-135m-instruct"/,
    )
    const both = await run('check', file('engine: {maxBatchTokens: 32}'))
    expect(both.err).toContain('at least engine.maxSequences, which is 64, got 32')
  })

  it('refuses a model beside endpoints, wherever it is written', async () => {
    vi.stubEnv('INGOT_MODEL', 'gemma-3-270m')
    const { code, err } = await run('check', file('endpoints: {a: {model: smollm2-135m-instruct}}'))
    expect(code).toBe(EXIT.usage)
    expect(err).toContain(
      'expected either one model or endpoints, got model.name gemma-3-270m (INGOT_MODEL) and a file with 1 endpoints',
    )
  })

  it('checks the environment too, and JSON', async () => {
    vi.stubEnv('INGOT_PROT', '1')
    vi.stubEnv('INGOT_CONFIG', file('{"server": {"port": 70000}}', 'ingot.json'))
    const { code, out } = await run('check', '--json')
    expect(code).toBe(EXIT.usage)
    expect(JSON.parse(out)).toEqual({
      file: '/ingot.json',
      isWell: false,
      problems: [
        {
          code: 'CONFIG_UNKNOWN_KEY',
          param: 'INGOT_PROT',
          message:
            'environment: "INGOT_PROT" is not a setting (did you mean "INGOT_PORT"?); docs/configuration.md lists them all',
        },
        {
          code: 'CONFIG_BAD_VALUE',
          param: 'server.port',
          message: '/ingot.json:1:21: expected server.port to be an integer, 0 to 65535, got 70000',
        },
      ],
    })
    vi.stubEnv('INGOT_PROT', undefined)
    vi.stubEnv('INGOT_CONFIG', file('{}', 'empty.json'))
    expect(JSON.parse((await run('check', '--json')).out)).toEqual({
      file: '/empty.json',
      isWell: true,
      problems: [],
    })
  })

  it.each([
    ['no file', [], 'expected a configuration file to check, got none'],
    ['a file that is not there', ['/not/there.yaml'], 'expected a readable configuration file at'],
    ['a folder', [tmpdir()], 'expected a readable configuration file at'],
    ['an endless device', ['/dev/zero'], 'at most 1.00 MiB, got'],
  ])('refuses %s', async (_, args, message) => {
    const { code, err } = await run('check', ...args)
    expect(code).not.toBe(EXIT.done)
    expect(err).toContain(message)
    expect(err).not.toContain('    at ')
  })

  it('has help with an example and the exit codes', async () => {
    const { code, out } = await run('check', '--help')
    expect(code).toBe(EXIT.done)
    expect(out).toContain('$ ingot config check ingot.yaml')
    expect(out).toContain('Exit codes: 0 all is well, 2 something is wrong.')
  })
})

describe('ingot config show', () => {
  it('prints every setting with its reason, and the declarations', async () => {
    const { code, out } = await run('show', EXAMPLE)
    expect(code).toBe(EXIT.done)
    expect(out).toMatch(/engine\.maxSequences +32 +engine\.maxSequences in /)
    expect(out).toMatch(/engine\.blockSize +32 +default/)
    expect(out).toMatch(/gpt-4o-mini +smollm2 +any/)
  })

  it('prints JSON, without a file too, and no secret', async () => {
    vi.stubEnv('INGOT_ADMIN_TOKEN', 'f3a9-7c51-0b2e-44d8')
    const { out } = await run('show', '--json')
    const shown = JSON.parse(out)
    expect(shown.settings['server.port']).toEqual({ value: '8000', reason: 'default' })
    expect(shown).toMatchObject({ endpoints: [], aliases: [], maxConcurrentLoads: 1 })
    expect(out).not.toContain('f3a9-7c51')
  })
})
