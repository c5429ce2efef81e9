/**
 * A process that fetches and stands still at a place of the caller's choice, so that it can be killed right there.
 * Arguments: store folder, index URL, source, stage, bytes. Says `reached` on its standard output, then blocks.
 */

import { writeSync } from 'node:fs'
import { makeStore, reference } from './test-store.ts'

const [root = '', indexUrl = '', source = '', stage, bytes] = process.argv.slice(2)

const store = await makeStore({ root, indexUrl })
await store.fetch(reference(source), {
  onProgress(current, doneBytes) {
    if (current !== stage || doneBytes < Number(bytes)) return
    writeSync(1, 'reached')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  },
})
