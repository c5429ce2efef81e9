import { expect, it } from 'vitest'
import { singleCatalog } from '../../../src/cli/single-model.ts'
import { resolveConfig } from '../../../src/config/resolve-config.ts'
import { checkCatalog } from '../../../src/deployment/endpoints/check-catalog.ts'

it('one model that was named is a sound catalog, its further names aliases', () => {
  const config = resolveConfig({
    written: [],
    hardware: {
      numPhysicalCores: 2,
      coresReason: 'x',
      totalMemoryBytes: 8e9,
      freeMemoryBytes: 8e9,
      memoryReason: 'x',
    },
    environment: { HOME: '/home' },
    folder: '/',
  })
  const made = singleCatalog('some/model.gguf', ['main', 'gpt-4o'], config)
  const catalog = { memoryBudgetBytes: null, maxConcurrentLoads: 1, ...made }
  expect(checkCatalog(catalog)).toEqual([])
  expect(made.endpoints).toMatchObject([{ name: 'main', isPinned: true, coldStartWaitMs: 0 }])
  expect(made.aliases).toMatchObject([{ name: 'gpt-4o', targets: ['main'] }])
})
