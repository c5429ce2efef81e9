import { describe, expect, it } from 'vitest'
import { definitionOf } from '../../../models/registry.ts'
import { ServingError } from '../../../src/base/errors.ts'
import { checkpointIndex } from '../../support/checkpoint-index.ts'
import { EXPECTED, PUBLISHED } from '../../support/published-configs.ts'

function read(members: Readonly<Record<string, unknown>>) {
  const checkpoint = checkpointIndex('safetensors', members)
  return definitionOf(checkpoint).readConfig(checkpoint)
}

/** The same configuration in the spelling of transformers 5. */
function modern({ rope_theta, rope_scaling, ...rest }: Readonly<Record<string, unknown>>) {
  const scaling = (rope_scaling ?? {}) as Readonly<Record<string, unknown>>
  const { type = 'default', ...parameters } = scaling
  const { partial_rotary_factor, rope_local_base_freq, torch_dtype: dtype, ...others } = rest
  const whole = { rope_type: type, rope_theta, ...parameters }
  const partial = partial_rotary_factor === undefined ? {} : { partial_rotary_factor }
  const local = { rope_type: 'default', rope_theta: rope_local_base_freq }
  const rope_parameters =
    rope_local_base_freq === undefined
      ? { ...whole, ...partial }
      : { full_attention: whole, sliding_attention: local }
  return { ...others, dtype, rope_parameters }
}

const HOSTILE = [
  null,
  true,
  false,
  -1,
  0,
  0.5,
  1,
  3,
  2 ** 31,
  2 ** 53,
  1e308,
  Number.NaN,
  '',
  'x'.repeat(100_000),
  [],
  [[]],
  [null],
  [-1, 0],
  Array(100_000).fill(1),
  {},
  { rope_type: 'yarn' },
  { rope_type: 'longrope', short_factor: [1], long_factor: [] },
  { full_attention: 1, sliding_attention: [] },
  { full_attention: { rope_type: 'llama3', factor: 0 } },
]

describe('published configurations', () => {
  it.each(Object.entries(PUBLISHED))('%s is read as it is meant', (name, config) => {
    expect(read(config)).toMatchObject(EXPECTED[name]!)
  })

  it.each(Object.entries(PUBLISHED).filter(([, config]) => 'rope_theta' in config))(
    '%s is the same in the spelling of transformers 5',
    (_, config) => {
      expect(read(modern(config))).toEqual(read(config))
    },
  )

  it.each(Object.entries(PUBLISHED))('%s with one more member is refused', (_, config) => {
    expect(() => read({ ...config, clip_everything: 8 })).toThrow(
      expect.objectContaining({
        code: 'MODEL_UNSUPPORTED_FEATURE',
        details: expect.objectContaining({ key: 'clip_everything' }),
      }),
    )
  })

  it.each(Object.entries(PUBLISHED))('%s of another task is refused', (_, config) => {
    const architectures = ['ForSequenceClassification']
    expect(() => read({ ...config, architectures })).toThrow(
      expect.objectContaining({
        code: 'MODEL_UNSUPPORTED_FEATURE',
        details: expect.objectContaining({ key: 'architectures' }),
      }),
    )
  })

  it.each(Object.entries(PUBLISHED))(
    '%s with a hostile value anywhere is read or refused by name, never more',
    (_, config) => {
      for (const key of Object.keys(config)) {
        for (const value of HOSTILE) {
          try {
            read({ ...config, [key]: value })
          } catch (error) {
            expect(error, `${key} = ${JSON.stringify(value)}`).toBeInstanceOf(ServingError)
            expect(String(error).length).toBeLessThan(1000)
          }
        }
      }
    },
  )
})
