/**
 * Two projects. `pure` needs nothing built and no weights; `weights` needs `dist/`, the native addon and the default
 * model, which its global setup makes or fetches once, and runs one file at a time because its tests measure.
 */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: ['default', './test/support/count-reporter.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: ['test/{unit,property,api,conformance}/**/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'weights',
          include: ['test/{native,golden,model}/**/*.test.ts'],
          globalSetup: './test/support/prepare-weights.ts',
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
