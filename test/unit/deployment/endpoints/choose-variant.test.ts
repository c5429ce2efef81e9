import { describe, expect, it } from 'vitest'
import {
  chooseVariant,
  type VariantNeeds,
} from '../../../../src/deployment/endpoints/choose-variant.ts'
import type { VariantFacts } from '../../../../src/deployment/endpoints/facts.ts'
import { variantFacts } from '../../../support/endpoint-builders.ts'

const MEBIBYTE = 2 ** 20
const BF16 = variantFacts({ name: 'bf16', totalBytes: 400 * MEBIBYTE })
const INT8 = variantFacts({ name: 'int8', totalBytes: 250 * MEBIBYTE })
const INT4 = variantFacts({ name: 'int4', totalBytes: 150 * MEBIBYTE })
const DECLARED = [BF16, INT8, INT4]
const MEASURED = [
  { ...BF16, qualityKl: 0.0002, tokensPerSecond: 40 },
  { ...INT8, qualityKl: 0.003, tokensPerSecond: 80 },
  { ...INT4, qualityKl: 0.03, tokensPerSecond: 120 },
]

function choose(variants: readonly VariantFacts[], needs: Partial<VariantNeeds> = {}) {
  return chooseVariant(variants, {
    allowed: variants.map(({ name }) => name),
    tier: 'default',
    freeBytes: 1024 * MEBIBYTE,
    reclaimableBytes: 0,
    budgetBytes: 2048 * MEBIBYTE,
    ...needs,
  })
}

const chosen = (variant: string, reason: string, mustFreeBytes = 0) => ({
  kind: 'chosen',
  variant,
  reason,
  mustFreeBytes,
})
const loaded = (name: string, variants = MEASURED) =>
  variants.map((variant) => ({ ...variant, isLoaded: variant.name === name }))

describe('with room for all', () => {
  it('the best quality serves, as measured or as declared', () => {
    expect(choose(MEASURED)).toEqual(
      chosen('bf16', 'best measured quality: KL 0.0002 against 0.003 of int8'),
    )
    expect(choose(DECLARED)).toEqual(chosen('bf16', 'declared before int8, best first'))
    const half = [{ ...BF16, qualityKl: 0.9 }, INT8]
    expect(choose(half)).toEqual(chosen('bf16', 'declared before int8, best first'))
  })

  it('flex gets the fastest, or the smallest where speed is not measured', () => {
    expect(choose(MEASURED, { tier: 'flex' })).toEqual(
      chosen('int4', 'fastest measured: 120.0 tokens/s against 80.0 of int8'),
    )
    expect(choose(DECLARED, { tier: 'flex' })).toEqual(
      chosen('int4', 'takes 150.0 MiB, less than int8 with 250.0 MiB'),
    )
  })

  it('only what is allowed serves, whatever would be better', () => {
    expect(choose(MEASURED, { allowed: ['int8', 'int4'] })).toEqual(
      chosen('int8', 'best measured quality: KL 0.003 against 0.03 of int4'),
    )
    expect(choose(MEASURED, { allowed: ['int4'], tier: 'priority' })).toEqual(
      chosen('int4', 'the only variant that the request and its alias allow'),
    )
    expect(choose([INT4])).toEqual(chosen('int4', 'the only variant'))
  })

  it('measurements that noise could make count as equal', () => {
    const near = [
      { ...INT8, qualityKl: 0.0031, tokensPerSecond: 80 },
      { ...INT4, qualityKl: 0.0034, tokensPerSecond: 120 },
    ]
    expect(choose(near)).toEqual(
      chosen('int4', 'fastest measured: 120.0 tokens/s against 80.0 of int8'),
    )
    expect(choose(near.map((one) => ({ ...one, tokensPerSecond: 100 })))).toEqual(
      chosen('int4', 'takes 150.0 MiB, less than int8 with 250.0 MiB'),
    )
    const same = near.map((one) => ({ ...INT8, name: one.name }))
    expect(choose(same)).toEqual(chosen('int8', 'declared before int4, best first'))
  })
})

describe('what is loaded', () => {
  it('serves at once, whichever it is', () => {
    expect(choose(loaded('int4'))).toEqual(chosen('int4', 'already loaded'))
    expect(choose(loaded('int4'), { tier: 'flex' })).toEqual(chosen('int4', 'already loaded'))
  })

  it('does not keep a priority request from the best quality', () => {
    expect(choose(loaded('int4'), { tier: 'priority' })).toEqual(
      chosen('bf16', 'best measured quality: KL 0.0002 against 0.003 of int8'),
    )
    const equal = loaded('int8').map((one) => ({ ...one, qualityKl: 0.003 }))
    expect(choose(equal, { tier: 'priority' })).toEqual(chosen('int8', 'already loaded'))
  })

  it('needs no room', () => {
    expect(choose(loaded('bf16'), { freeBytes: 0, allowed: ['bf16', 'int4'] })).toEqual(
      chosen('bf16', 'the only one that fits 0 B'),
    )
  })
})

describe('when memory is short', () => {
  const short = { freeBytes: 200 * MEBIBYTE, reclaimableBytes: 100 * MEBIBYTE }

  it('what is free serves before what others must be unloaded for', () => {
    expect(choose(MEASURED, short)).toEqual(
      chosen('int4', 'fits the 200.0 MiB that are free, and int8 takes 250.0 MiB'),
    )
  })

  it('priority gets the best quality that unloading idle models makes room for', () => {
    expect(choose(MEASURED, { ...short, tier: 'priority' })).toEqual(
      chosen('int8', 'best measured quality: KL 0.003 against 0.03 of int4', 50 * MEBIBYTE),
    )
  })

  it('the only one that fits serves', () => {
    expect(choose(MEASURED, { freeBytes: 160 * MEBIBYTE })).toEqual(
      chosen('int4', 'the only one that fits 160.0 MiB'),
    )
  })

  it('nothing is chosen where nothing fits, with the arithmetic', () => {
    expect(choose(MEASURED, { freeBytes: 20 * MEBIBYTE, reclaimableBytes: 30 * MEBIBYTE })).toEqual(
      {
        kind: 'none',
        canEverFit: true,
        reason:
          'int4 takes 150.0 MiB, and 20.0 MiB are free with 30.0 MiB of idle models to unload, of 2.00 GiB; the rest is in use',
      },
    )
    expect(choose(MEASURED, { freeBytes: 100 * MEBIBYTE, budgetBytes: 100 * MEBIBYTE })).toEqual({
      kind: 'none',
      canEverFit: false,
      reason: 'int4 takes 150.0 MiB, more than the whole memory budget of 100.0 MiB',
    })
    expect(choose(MEASURED, { allowed: [] })).toEqual({
      kind: 'none',
      canEverFit: false,
      reason: 'no variant is allowed',
    })
  })
})
