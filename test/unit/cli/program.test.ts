import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { flagsOf } from '../../../src/cli/config-flags.ts'
import { EXIT } from '../../../src/cli/errors.ts'
import { listen } from '../../../src/cli/listen.ts'
import { packageFiles } from '../../../src/cli/package-files.ts'
import { buildProgram, runProgram } from '../../../src/cli/program.ts'
import { Progress } from '../../../src/cli/progress.ts'
import { servedNames } from '../../../src/cli/served-names.ts'
import { mergeChoices, startReport } from '../../../src/cli/start-report.ts'
import { OPTION_KEYS, OPTIONS } from '../../../src/config/options.ts'
import type { Choice } from '../../../src/config/runtime-config.ts'
import { caught } from '../../support/caught.ts'

interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

afterEach(() => vi.restoreAllMocks())

async function run(...args: string[]): Promise<Run> {
  let out = ''
  let err = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text)
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text)
    return true
  })
  return { code: await runProgram(args), out, err }
}

describe('ingot', () => {
  it('prints its version', async () => {
    expect(await run('--version')).toEqual({
      code: EXIT.done,
      out: `${packageFiles().version}\n`,
      err: '',
    })
  })

  it('prints help with the commands, examples and exit codes', async () => {
    const { code, out } = await run('--help')
    expect(code).toBe(EXIT.done)
    for (const word of ['serve', 'pull', 'ls', 'inspect', 'Examples:', 'Exit codes:']) {
      expect(out).toContain(word)
    }
  })

  it('lists every flag with its default and its variable in the help of serve', async () => {
    const { out } = await run('serve', '--help')
    const text = out.replace(/\s+/g, ' ')
    for (const key of OPTION_KEYS) {
      const { flag, env } = OPTIONS[key]
      if (flag === null) continue
      expect(text).toContain(flag)
      expect(text).toContain(`env ${env})`)
    }
    expect(text).toContain('$ ingot serve ./model.gguf')
  })

  it.each([
    ['an unknown flag', ['serve', '--prot', '1'], "unknown option '--prot'"],
    ['an unknown command', ['server'], "unknown command 'server'"],
    ['too many arguments', ['serve', 'a', 'b'], 'too many arguments'],
    ['a flag without its value', ['serve', '--port'], 'argument missing'],
    ['a bad value', ['serve', '--port', 'x'], 'expected --port to be an integer, 0 to 65535'],
  ])('refuses %s with code 2', async (_, args, message) => {
    const { code, err } = await run(...args)
    expect(code).toBe(EXIT.usage)
    expect(err).toContain(message)
    expect(err).not.toContain('    at ')
  })

  it('tells an expected failure in one line with its code, and a stack only at debug', async () => {
    const { code, err } = await run('inspect', 'no-such-model')
    expect(code).toBe(EXIT.failed)
    expect(err).toMatch(/^ingot: expected a catalog model.*\[STORE_UNKNOWN_MODEL\]\n$/)
    const { err: withStack } = await run('inspect', 'no-such-model', '--log-level', 'debug')
    expect(withStack).toContain('    at ')
  })

  it('gives every setting with a flag back by its key', () => {
    const serve = buildProgram().commands.find((command) => command.name() === 'serve')
    const args = OPTION_KEYS.flatMap((key) => {
      const flag = OPTIONS[key].flag?.split(' ')[0]
      return flag === undefined ? [] : [flag, `value of ${key}`]
    })
    serve?.parseOptions(args)
    const expected = OPTION_KEYS.filter((key) => OPTIONS[key].flag !== null)
    expect(flagsOf(serve?.opts() ?? {})).toEqual(
      Object.fromEntries(expected.map((key) => [key, `value of ${key}`])),
    )
  })
})

describe('listen', () => {
  it('says which port is in use and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    const error = await caught(listen(fastify(), { host: '127.0.0.1', port }))
    expect(error).toMatchObject({ code: 'CLI_PORT_IN_USE', param: '--port' })
    expect(error.message).toContain('--port (0 = any free one)')
    other.close()
  })

  it('says that an address is not of this machine', async () => {
    const error = await caught(listen(fastify(), { host: '192.0.2.1', port: 0 }))
    expect(error).toMatchObject({ code: 'CLI_CANNOT_LISTEN', param: '--host' })
    expect(error.message).toContain('no such address on this machine')
  })

  it('gives the real port of port 0', async () => {
    const app = fastify()
    const address = await listen(app, { host: '127.0.0.1', port: 0 })
    expect(address).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d+$/)
    await app.close()
  })
})

describe('servedNames', () => {
  it.each([
    [null, { kind: 'file', path: '/m/My Model.Q4_0.gguf' }, ['My Model.Q4_0']],
    [null, { kind: 'url', url: 'https://h/a%20b.GGUF', sha256: null }, ['a b']],
    [null, { kind: 'hf', repository: 'o/n', revision: 'main', file: 'x/y.gguf' }, ['y']],
    [null, { kind: 'pypi', project: 'p', version: null, member: 'p/z.gguf' }, ['z']],
    [null, { kind: 'file', path: '/m/smol/onnx/model_q4.onnx' }, ['smol-model_q4']],
    [null, { kind: 'file', path: '/m/smol/model.onnx' }, ['smol']],
    [null, { kind: 'file', path: '/model.onnx' }, ['model']],
    [['a', 'b', 'a'], { kind: 'file', path: '/m.gguf' }, ['a', 'b']],
  ] as const)('with %j for %j are %j', (configured, source, names) => {
    expect(servedNames(configured, { entry: null, source })).toEqual(names)
  })
})

describe('progress', () => {
  it('is a line a stage and one at the end where there is no terminal', () => {
    const lines: string[] = []
    const progress = new Progress({ write: (text) => lines.push(text) })
    for (const done of [0, 10, 20, 1024]) progress.bytes('downloading', done, 1024)
    progress.fraction('weights', 0)
    progress.fraction('weights', 0.5)
    progress.fraction('weights', 1)
    progress.stop()
    expect(lines).toEqual([
      'downloading: 0 B of 1.00 KiB\n',
      'downloading: 1.00 KiB of 1.00 KiB\n',
      'weights: 0 %\n',
      'weights: 100 %\n',
    ])
  })
})

describe('the start report', () => {
  it('has a line a setting with value and reason, the plan’s where it decided', () => {
    const choices: Choice[] = [
      { key: 'model.name', value: 'auto', reason: 'default', origin: 'default' },
      { key: 'engine.threads', value: '2', reason: '2 physical cores', origin: 'auto' },
      { key: 'engine.kvMemory', value: 'auto', reason: 'default', origin: 'default' },
    ]
    const plan: Choice[] = [
      { key: 'engine.kvMemory', value: '1.00 GiB', reason: 'a quarter', origin: 'auto' },
    ]
    const report = startReport({
      version: '1.2.3',
      card: {
        id: 'm',
        aliases: ['n'],
        created: 0,
        ownedBy: 'o',
        digest: `sha256:${'ab'.repeat(32)}`,
        quantization: 'Q4_1',
        servingConfigDigest: 'sha256:00',
        maxContextTokens: 8,
        vocabSize: 9,
        hasChatTemplate: true,
      },
      source: 'file:/m.gguf',
      sizeBytes: 2048,
      kernels: 'avx2',
      kernelsReason: 'best of this processor',
      quantizationReason: 'stored as F16',
      choices: mergeChoices(choices, plan),
    })
    expect(report).toBe(
      [
        'Ingot 1.2.3',
        '  model         m, n                        file:/m.gguf',
        '  digest        sha256:abababababababababa  2.00 KiB, verified',
        '  quantization  Q4_1                        stored as F16',
        '  kernels       avx2                        best of this processor',
        '  threads       2                           2 physical cores',
        '  kv-memory     1.00 GiB                    a quarter',
      ].join('\n'),
    )
  })
})
