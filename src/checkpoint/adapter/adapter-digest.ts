/**
 * One digest of an adapter: of its matrices and of the configuration that says how strong they are. Anybody can make it:
 *
 *   sha256sum adapter_config.json adapter_model.safetensors | sha256sum
 *
 * Owns nothing; knows what is in neither file.
 */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { digestFile } from '../digest.ts'
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from './adapter-reader.ts'

/**
 * @returns `sha256:` and 64 hex digits
 * @throws ServingError CHECKPOINT_NOT_FOUND, CHECKPOINT_UNREADABLE
 */
export async function digestAdapter(folder: string): Promise<string> {
  const config = await digestFile(join(folder, ADAPTER_CONFIG))
  return adapterDigest(config, await digestFile(join(folder, ADAPTER_WEIGHTS)))
}

/** From the files' own digests, hex. */
export function adapterDigest(config: string, weights: string): string {
  const lines = `${config}  ${ADAPTER_CONFIG}\n${weights}  ${ADAPTER_WEIGHTS}\n`
  return `sha256:${createHash('sha256').update(lines).digest('hex')}`
}
