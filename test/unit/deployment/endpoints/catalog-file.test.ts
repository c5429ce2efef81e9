import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SOURCE_WEIGHTS } from '../../../../src/base/weights-choice.ts'
import { parseConfigFile } from '../../../../src/config/document.ts'
import { valuesOfFile } from '../../../../src/config/sources.ts'
import { catalogOf, readCatalog } from '../../../../src/deployment/endpoints/catalog-file.ts'
import { assertCatalog } from '../../../../src/deployment/endpoints/check-catalog.ts'
import { aliasSpec, endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'

const EXAMPLE = join(import.meta.dirname, '../../../../examples/ingot.yaml')

function read(text: string) {
  const root = parseConfigFile({ path: 'f.yaml', text })
  return readCatalog({ path: 'f.yaml', root }, { activations: 'int8', retention: 'none' })
}

/** Messages without what all have. */
function problems(text: string): string[] {
  return read(text).problems.map(({ message }) => message.replace(/^f\.yaml:/, ''))
}

const DECLARED = endpointSpec({
  name: 'a',
  retention: 'none',
  inactiveTimeoutMs: 600_000,
  coldStartWaitMs: 30_000,
})

describe('a file’s declarations', () => {
  it('become a catalog, with a default for everything that is left out', () => {
    const { catalog } = read('endpoints:\n  a:\n    model: m\naliases:\n  chat: a\n')
    expect(catalog).toEqual({
      memoryBudgetBytes: null,
      maxConcurrentLoads: 1,
      endpoints: [{ ...DECLARED, variants: [variantSpec({ source: 'm' })] }],
      aliases: [aliasSpec()],
    })
  })

  it('of none are an empty catalog', () => {
    const empty = { memoryBudgetBytes: null, maxConcurrentLoads: 1, endpoints: [], aliases: [] }
    for (const text of ['server: {port: 1}', 'endpoints:\naliases:\npool:\n']) {
      expect(read(text).catalog).toEqual(empty)
    }
  })

  it('say everything that an endpoint may be', () => {
    const { catalog } = read(`
pool: {memoryBudget: 2GiB, maxConcurrentLoads: 2}
endpoints:
  org/a:
    displayName: The A
    mode: dedicated
    state: STOPPED
    model: m
    variants:
      - {name: exact, source: n, digest: "sha256:${'ab'.repeat(32)}", weights: bf16,
         activations: f32, kvDtype: f16, qualityKl: 0.25}
      - weights: {format: int4, head: int8, embedding: auto, group: channel, symmetry: symmetric,
                  overrides: ["*.down=bf16", x=f32]}
    kvMemory: 1.5GiB
    maxContext: 4096
    maxSequences: 8
    maxQueue: 0
    threads: 2
    draftTokens: 0
    prefixCache: off
    cpuSets: [0-1, "2,3"]
    inactiveTimeout: 1h
    coldStartWait: 500ms
    replicas: {min: 0, max: 3, targetLoad: 0.5, scaleUpWindow: 15s, scaleDownWindow: 5m}
    region: eu-central
    retention: standard
`)
    expect(catalog).toEqual({
      memoryBudgetBytes: 2 * 2 ** 30,
      maxConcurrentLoads: 2,
      aliases: [],
      endpoints: [
        {
          name: 'org/a',
          displayName: 'The A',
          mode: 'dedicated',
          state: 'STOPPED',
          variants: [
            {
              name: 'exact',
              source: 'n',
              digest: `sha256:${'ab'.repeat(32)}`,
              weights: { ...SOURCE_WEIGHTS, format: 'bf16' },
              activations: 'f32',
              kvDtype: 'f16',
              qualityKl: 0.25,
            },
            {
              name: 'int4',
              source: 'm',
              digest: null,
              weights: {
                format: 'int4',
                head: 'int8',
                embedding: null,
                group: 'channel',
                symmetry: 'symmetric',
                overrides: [
                  { pattern: '*.down', format: 'bf16' },
                  { pattern: 'x', format: 'f32' },
                ],
              },
              activations: 'int8',
              kvDtype: null,
              qualityKl: null,
            },
          ],
          kvMemoryBytes: 1.5 * 2 ** 30,
          maxContextTokens: 4096,
          maxNumSeqs: 8,
          maxQueuedSequences: 0,
          threads: 2,
          maxDraftTokens: 0,
          prefixCache: false,
          cpuSets: ['0-1', '2,3'],
          inactiveTimeoutMs: 3_600_000,
          isPinned: false,
          coldStartWaitMs: 500,
          autoscaling: {
            minReplicas: 0,
            maxReplicas: 3,
            targetLoad: 0.5,
            scaleUpWindowMs: 15_000,
            scaleDownWindowMs: 300_000,
          },
          region: 'eu-central',
          retention: 'standard',
        },
      ],
    })
    expect(Object.isFrozen(catalog?.endpoints[0]?.variants[0])).toBe(true)
  })

  it('give a dedicated endpoint one replica that stays, unless told otherwise', () => {
    const endpoints =
      'endpoints: {a: {model: m, mode: dedicated}, b: {model: m, mode: dedicated, replicas: {min: 3}}}'
    const [a, b] = read(endpoints).catalog?.endpoints ?? []
    expect(a).toMatchObject({
      inactiveTimeoutMs: null,
      autoscaling: { minReplicas: 1, maxReplicas: 1 },
    })
    expect(b?.autoscaling).toMatchObject({ minReplicas: 3, maxReplicas: 3 })
  })

  it('take times with a unit, or as seconds', () => {
    const waits = ['500ms', '30s', '2m', '1h', '1.5s', '45', '0'].map((wait) => {
      const { catalog } = read(`endpoints: {a: {model: m, coldStartWait: ${wait}}}`)
      return catalog?.endpoints[0]?.coldStartWaitMs
    })
    expect(waits).toEqual([500, 30_000, 120_000, 3_600_000, 1500, 45_000, 0])
  })
})

describe('what is wrong with a file', () => {
  it.each([
    [
      'endpoints: {a: {modle: m}}',
      [
        '1:16: expected endpoints.a.model to be a catalog name, a path or a source (pypi:, hf:, https:, file:), got nothing',
        '1:17: "endpoints.a.modle" is not a setting (did you mean "model"?); docs/endpoints.md lists them all',
      ],
    ],
    ['endpoints: [a]', ['1:12: expected endpoints to be a map, got a list of 1']],
    ['endpoints: {a: m}', ['1:16: expected endpoints.a to be a map, got "m"']],
    [
      'endpoints: {a: {model: [m]}}',
      [
        '1:24: expected endpoints.a.model to be a catalog name, a path or a source (pypi:, hf:, https:, file:), got a list of 1',
        '1:16: expected endpoints.a.model to be a catalog name, a path or a source (pypi:, hf:, https:, file:), got nothing',
      ],
    ],
    [
      'endpoints: {a: {model: m, mode: server}}',
      ['1:33: expected endpoints.a.mode to be "serverless" or "dedicated", got "server"'],
    ],
    [
      'endpoints: {a: {model: m, kvMemory: 2XB}}',
      ['1:37: expected endpoints.a.kvMemory to be a size such as 2GiB, or auto, got "2XB"'],
    ],
    [
      'endpoints: {a: {model: m, kvMemory: 1}}',
      ['1:37: expected endpoints.a.kvMemory to be a size of at least 1MiB, or auto, got 1 B'],
    ],
    [
      'endpoints: {a: {model: m, coldStartWait: soon}}',
      ['1:42: expected endpoints.a.coldStartWait to be a time such as 30s, 10m or 1h, got "soon"'],
    ],
    [
      'endpoints: {a: {model: m, coldStartWait: 2h}}',
      ['1:42: expected endpoints.a.coldStartWait to be a time from 0s to 3600s, got 7200s'],
    ],
    [
      'endpoints: {a: {model: m, threads: 1.5}}',
      ['1:36: expected endpoints.a.threads to be an integer, or auto, got 1.5'],
    ],
    [
      'endpoints: {a: {model: m, pinned: yes}}',
      ['1:35: expected endpoints.a.pinned to be true or false, got "yes"'],
    ],
    [
      'endpoints: {"a b": {model: m}}',
      [
        '1:13: expected endpoints.a b to be a name of 1 to 200 letters, digits and . _ / : - that begins with a letter or digit, got "a b"',
      ],
    ],
    [
      'endpoints: {a: {model: m, replicas: {max: 2}}}',
      [
        '1:43: expected endpoints.a.replicas.max to be 1, because a serverless endpoint has one replica or none; mode: dedicated has more, got 2',
      ],
    ],
    [
      'endpoints: {a: {model: m, mode: dedicated, pinned: true}}',
      [
        '1:52: expected endpoints.a.pinned to be false, because a dedicated endpoint is never unloaded to make room, got true',
      ],
    ],
    [
      'endpoints: {a: {model: m, mode: dedicated, replicas: {min: 2, max: 1}}}',
      ['1:60: expected endpoints.a.replicas.min to be at most max, which is 1, got 2'],
    ],
    [
      'endpoints: {a: {model: m, variants: [{name: x}, {name: x}]}}',
      [
        '1:56: expected endpoints.a.variants[1].name to be another name than that of variants[0], got "x"',
      ],
    ],
    [
      'endpoints: {a: {model: m, variants: []}}',
      ['1:37: expected endpoints.a.variants to be 1 to 16 variants, got 0'],
    ],
    [
      'endpoints: {a: {variants: [{name: x}]}}',
      [
        '1:28: expected endpoints.a.variants[0].source to be a catalog name, a path or a source (pypi:, hf:, https:, file:), here or as model, got nothing',
      ],
    ],
    [
      'endpoints: {a: {model: m, variants: [{digest: abc}]}}',
      [
        '1:47: expected endpoints.a.variants[0].digest to be "sha256:" and 64 hex digits, got "abc"',
      ],
    ],
    [
      'endpoints: {a: {model: m, variants: [{weights: {overrides: ["x"]}}]}}',
      [
        '1:61: expected endpoints.a.variants[0].weights.overrides[0] to be PATTERN=FORMAT, such as model.layers.0.*=bf16, got "x"',
      ],
    ],
    [
      'pool: {maxConcurrentLoads: 0}',
      ['1:28: expected pool.maxConcurrentLoads to be an integer from 1 to 64, got 0'],
    ],
    [
      'pool: {memorybudget: 1GiB}',
      [
        '1:8: "pool.memorybudget" is not a setting (did you mean "memoryBudget"?); docs/endpoints.md lists them all',
      ],
    ],
  ])('%s', (text, expected) => {
    expect(problems(text)).toEqual(expected)
    expect(read(text).catalog).toBeNull()
  })

  it('is said all at once, and the first of it is thrown', () => {
    const text = 'pool: {maxConcurrentLoads: x}\nendpoints:\n  a: {mode: b}\naliases:\n  c: {}\n'
    expect(read(text).problems).toHaveLength(3)
    const root = parseConfigFile({ path: 'f.yaml', text })
    expect(() =>
      catalogOf({ path: 'f.yaml', root }, { activations: 'int8', retention: 'none' }),
    ).toThrow('f.yaml:1:28: expected pool.maxConcurrentLoads to be an integer, got "x"')
  })

  it('in an alias: targets that are not there, circles, names that are taken', () => {
    const endpoints = 'endpoints: {smollm2: {model: m, region: eu}}\n'
    const alias = (text: string) => problems(`${endpoints}aliases: ${text}\n`)
    expect(alias('{chat: [smolm2]}')).toEqual([
      '2:18: expected aliases.chat.targets[0] to be the name of an endpoint or of another alias, got "smolm2" (did you mean "smollm2"?)',
    ])
    expect(alias('{smollm2: smollm2}')[0]).toBe(
      '2:11: expected aliases.smollm2 to be a name that no endpoint has, got "smollm2", which is an endpoint',
    )
    expect(alias('{a: b, b: [smollm2, c], c: a, d: a}')).toEqual([
      '2:14: expected aliases.a.targets[0] to be a name that does not lead back to a, got "b" → "c" → "a"',
      '2:30: expected aliases.b.targets[1] to be a name that does not lead back to b, got "c" → "a" → "b"',
      '2:37: expected aliases.c.targets[0] to be a name that does not lead back to c, got "a" → "b" → "c"',
    ])
    expect(alias('{a: a}')).toEqual([
      '2:14: expected aliases.a.targets[0] to be a name that does not lead back to a, got "a"',
    ])
    expect(alias('{a: [smollm2, smollm2]}')).toEqual([
      '2:24: expected aliases.a.targets[1] to be named once, got "smollm2"',
    ])
    expect(alias('{a: []}')).toEqual([
      '2:14: expected aliases.a.targets to be 1 to 64 names, got 0',
    ])
    expect(alias('{a: {allowFallbacks: true}}')).toEqual([
      '2:11: expected aliases.a.targets to be 1 to 64 names, got 0',
    ])
  })

  it('in an alias’s policy: what none of its targets can meet', () => {
    const endpoints = 'endpoints: {x: {model: m, region: eu}}\n'
    const alias = (text: string) => problems(`${endpoints}aliases: {a: {targets: x, ${text}}}\n`)
    expect(alias('region: us')).toEqual([
      '2:35: expected aliases.a.region to be the region of one of its targets, got us, and theirs is eu',
    ])
    expect(alias('retention: standard')).toEqual([
      '2:38: expected aliases.a.retention to be the retention of one of its targets, got "standard"',
    ])
    expect(alias('revision: pinned')).toEqual([
      '2:37: expected aliases.a.revision to be "newest", or one of its targets a variant with a digest, got "pinned"',
    ])
    expect(alias('quantizations: [int5]')).toEqual([
      '2:43: expected aliases.a.quantizations[0] to be "int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32" or "unknown", got "int5"',
    ])
    expect(alias('quantizations: []')).toEqual([
      '2:42: expected aliases.a.quantizations to be at least one format, or left out for all, got none',
    ])
  })

  it('is found in time where aliases branch again and again', () => {
    const layer = (at: number) => Array.from({ length: 20 }, (_, index) => `l${at}x${index}`)
    const aliases = Array.from({ length: 12 }, (_, at) =>
      layer(at).map((name) => `  ${name}: [${at === 11 ? 'e' : layer(at + 1).join(', ')}]`),
    ).flat()
    const text = `endpoints: {e: {model: m}}\naliases:\n${aliases.join('\n')}\n`
    const start = performance.now()
    expect(problems(text)[0]).toMatch(
      /aliases\.l0x0\.targets to be at most 256 ways to endpoints, got \d/,
    )
    expect(performance.now() - start).toBeLessThan(2000)
  })
})

describe('examples/ingot.yaml', () => {
  const text = readFileSync(EXAMPLE, 'utf8')

  it('is well, settings and declarations', () => {
    const { catalog, problems } = read(text)
    expect(problems).toEqual([])
    expect(catalog?.endpoints.map(({ name }) => name)).toEqual([
      'smollm2',
      'smollm2-variants',
      'smollm2-dedicated',
    ])
    expect(catalog?.aliases.map(({ name, targets }) => [name, targets])).toEqual([
      ['gpt-4o-mini', ['smollm2']],
      ['chat', ['smollm2-variants', 'smollm2']],
    ])
    expect([...valuesOfFile({ path: EXAMPLE, text }).keys()]).toEqual([
      'server.port',
      'engine.maxSequences',
    ])
  })
})

it.each(['README.md', 'docs/endpoints.md'])('the configuration files in %s are well', (name) => {
  const text = readFileSync(join(import.meta.dirname, '../../../..', name), 'utf8')
  const files = [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, file]) => file ?? '')
  expect(files.map((file) => read(file).problems)).toEqual(files.map(() => []))
  expect(files.length).toBeGreaterThan(0)
})

describe('a change that is no file', () => {
  it('is refused by the same rules, before anything is applied', () => {
    const catalog = {
      memoryBudgetBytes: null,
      maxConcurrentLoads: 1,
      endpoints: [endpointSpec({ name: 'chat-small' })],
      aliases: [aliasSpec({ targets: ['chat-smal'] })],
    }
    expect(() => assertCatalog(catalog, null)).toThrow(
      expect.objectContaining({
        code: 'DEPLOYMENT_BAD_DECLARATION',
        status: 409,
        message:
          'expected aliases.chat.targets[0] to be the name of an endpoint or of another alias, got "chat-smal" (did you mean "chat-small"?); nothing was changed',
      }),
    )
    const twice = [endpointSpec(), endpointSpec()]
    expect(() => assertCatalog({ ...catalog, endpoints: twice, aliases: [] }, null)).toThrow(
      'expected endpoints.a to be declared once, got 2 times',
    )
    expect(() => assertCatalog({ ...catalog, aliases: [] }, null)).not.toThrow()
    // Named on the command line, where any name goes.
    const odd = { ...catalog, endpoints: [endpointSpec({ name: 'my model' })], aliases: [] }
    const aliased = { ...odd, aliases: [aliasSpec({ targets: ['my model'] })] }
    expect(() => assertCatalog(aliased, odd)).not.toThrow()
    expect(() => assertCatalog(aliased, null)).toThrow('expected endpoints.my model to be a name')
  })
})
