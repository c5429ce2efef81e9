/**
 * Ends every run with the plain line `N passed, N failed`, for scripts that read it. A file that could not be loaded
 * and an error outside of any test count as failed: the line never says less than what went wrong.
 */

import type { Reporter, SerializedError, TestModule } from 'vitest/node'

export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    let numPassed = 0
    // No file at all means that the setup failed before any could run, or that the filter matched nothing.
    let numFailed = errors.length + (modules.length === 0 ? 1 : 0)
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') numPassed += 1
        // A test that never ended (its process died) is still pending.
        if (state === 'failed' || state === 'pending') numFailed += 1
      }
      numFailed += module.errors().length
      for (const suite of module.children.allSuites()) numFailed += suite.errors().length
    }
    // The default reporter's own summary is printed in the same event, before this reporter's turn.
    process.stdout.write(`\n${numPassed} passed, ${numFailed} failed\n`)
  }
}
