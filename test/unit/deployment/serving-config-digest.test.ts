import { describe, expect, it } from 'vitest'
import {
  canonicalJson,
  type ServingConfig,
  servingConfigDigest,
  systemFingerprint,
} from '../../../src/deployment/serving-config-digest.ts'

const config: ServingConfig = {
  modelDigest: 'sha256:00',
  weights: 'source',
  activations: 'int8',
  kvDtype: 'bf16',
  kernels: 'avx2',
  ortVersion: '1.30.0',
  version: '0.1.0',
  maxContextTokens: 2048,
}

describe('servingConfigDigest', () => {
  it('does not depend on the order of keys', () => {
    const reversed = Object.fromEntries(
      Object.entries(config).reverse(),
    ) as unknown as ServingConfig
    expect(servingConfigDigest(reversed)).toBe(servingConfigDigest(config))
  })

  it.each(Object.keys(config))('changes with %s', (key) => {
    const changed = { ...config, [key]: 'other' }
    expect(servingConfigDigest(changed)).not.toBe(servingConfigDigest(config))
  })

  it('is shown by its first eight digits', () => {
    expect(systemFingerprint('0.1.0', 'sha256:0123456789')).toBe('ingot-0.1.0-01234567')
  })
})

it('canonical JSON sorts keys at every level and has no white space', () => {
  const value = { b: [1, { d: null, c: 'x' }], a: true }
  expect(canonicalJson(value)).toBe('{"a":true,"b":[1,{"c":"x","d":null}]}')
})
