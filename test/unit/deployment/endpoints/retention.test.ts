import { describe, expect, it } from 'vitest'
import { singleCatalog } from '../../../../src/cli/single-model.ts'
import { parseConfigFile } from '../../../../src/config/document.ts'
import type { Hardware } from '../../../../src/config/hardware.ts'
import { resolveConfig } from '../../../../src/config/resolve-config.ts'
import { valuesOfFlags } from '../../../../src/config/sources.ts'
import { readCatalog } from '../../../../src/deployment/endpoints/catalog-file.ts'
import { checkCatalog } from '../../../../src/deployment/endpoints/check-catalog.ts'
import { declarationDefaults } from '../../../../src/deployment/endpoints/endpoint-file.ts'
import { keptOnDisk } from '../../../../src/deployment/endpoints/pool-planner.ts'
import { changeKind } from '../../../../src/deployment/endpoints/spec-change.ts'
import { endpointSpec } from '../../../support/endpoint-builders.ts'

const hardware: Hardware = {
  numPhysicalCores: 2,
  coresReason: 'a test',
  totalMemoryBytes: 2 ** 33,
  freeMemoryBytes: 2 ** 32,
  memoryReason: 'a test',
}

function config(kvDiskCache?: string) {
  const flags = kvDiskCache === undefined ? {} : { 'store.kvDiskCache': kvDiskCache }
  const environment = { HOME: '/h' }
  return resolveConfig({ written: [valuesOfFlags(flags)], hardware, environment, folder: '/' })
}

function retentionsOf(text: string, kvDiskCache?: string) {
  const root = parseConfigFile({ path: 'f.yaml', text })
  const { catalog } = readCatalog(
    { path: 'f.yaml', root },
    declarationDefaults(config(kvDiskCache)),
  )
  return catalog?.endpoints.map(({ retention }) => retention)
}

describe('zero data retention', () => {
  const endpoints = 'endpoints: {a: {model: m}, b: {model: m, retention: none}}'

  it('is what endpoints have, unless prompts’ keys and values may go to a disk', () => {
    expect(retentionsOf(endpoints)).toEqual(['none', 'none'])
    expect(retentionsOf(endpoints, '1GiB')).toEqual(['standard', 'none'])
  })

  it('is what a model that is served alone has, on the same condition', () => {
    const [alone] = singleCatalog('m', ['m'], config()).endpoints
    const [cached] = singleCatalog('m', ['m'], config('1GiB')).endpoints
    expect([alone?.retention, cached?.retention]).toEqual(['none', 'standard'])
  })

  it('means no disk cache for the endpoint, whatever the setting says', () => {
    const kvDisk = { folder: '/kv', limitBytes: 2 ** 30 }
    expect(keptOnDisk(endpointSpec({ retention: 'standard' }), { kvDisk })).toEqual({ kvDisk })
    expect(keptOnDisk(endpointSpec({ retention: 'none' }), { kvDisk })).toEqual({
      kvDisk: { folder: '/kv', limitBytes: 0 },
    })
    expect(keptOnDisk(endpointSpec(), {})).toEqual({})
  })

  it('is changed by new engines, because one that runs may have a disk cache', () => {
    const before = endpointSpec({ retention: 'standard' })
    expect(changeKind(before, { ...before, retention: 'none' })).toBe('revision')
    expect(changeKind(before, { ...before, region: 'eu' })).toBe('policy')
  })
})

it('a model that is served alone is a catalog that could be declared', () => {
  const single = singleCatalog('./model.gguf', ['model', 'gpt-4o-mini'], config())
  const catalog = { memoryBudgetBytes: null, maxConcurrentLoads: 1, ...single }
  expect(checkCatalog(catalog)).toEqual([])
})
