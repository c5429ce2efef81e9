/**
 * Weights in several safetensors files, put together by `model.safetensors.index.json`.
 *
 * The index is believed only as far as the shards agree: S1 every tensor of the index lies in the shard it names, and
 * no shard has another. S2 A shard is a file beside the index, never elsewhere. `metadata.total_size` is not read: some
 * writers count parameters there. Source: transformers, `save_pretrained`.
 */

import { dirname, join } from 'node:path'
import type { ServingError } from '../../base/errors.ts'
import type { MetadataValue } from '../checkpoint.ts'
import { checkpointError, errorAt } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import type { StoredTensor } from '../quantized/stored-quantization.ts'
import { readSafetensors } from './header.ts'
import { parseJsonObject } from './json-text.ts'
import { readWhole } from './read-file.ts'

/** DeepSeek's 91,000 tensors take 9 MB. */
const MAX_INDEX_BYTES = 100_000_000
/** The largest published models have about 200. */
const MAX_SHARDS = 4096

export interface ShardedTensors {
  /** In the order of their names. */
  readonly files: readonly string[]
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/**
 * Read the index and the header of every shard.
 *
 * @throws ServingError CHECKPOINT_SHARD_MISSING, CHECKPOINT_SHARD_MISMATCH, CHECKPOINT_BAD_FIELD, and those of
 *   `readSafetensors`
 */
export async function readSharded(indexFile: string): Promise<ShardedTensors> {
  const shardOf = await readIndex(indexFile)
  const shards = [...new Set(shardOf.values())].sort()
  if (shards.length > MAX_SHARDS) {
    throw badIndex(indexFile, 'weight_map', `at most ${MAX_SHARDS} shards`, `${shards.length}`)
  }
  const tensors = new Map<string, StoredTensor>()
  for (const shard of shards) {
    for (const [name, tensor] of await readShard(indexFile, shard, shardOf)) {
      const expected = shardOf.get(name)
      if (expected !== shard) throw mismatch(indexFile, name, expected ?? 'no shard', shard)
      tensors.set(name, tensor)
    }
  }
  for (const [name, shard] of shardOf) {
    if (!tensors.has(name)) throw mismatch(indexFile, name, shard, 'no shard')
  }
  return { files: shards.map((shard) => join(dirname(indexFile), shard)), tensors }
}

/** Shard by tensor. */
async function readIndex(file: string): Promise<ReadonlyMap<string, string>> {
  const bytes = await readWhole(file, MAX_INDEX_BYTES)
  const index = parseJsonObject(bytes, { file, offset: 0, field: 'index' })
  const weightMap = index.get('weight_map')
  if (!(weightMap instanceof Map) || weightMap.size === 0) {
    throw badIndex(file, 'weight_map', 'an object of shards by tensor', 'none')
  }
  const entries: ReadonlyMap<string, MetadataValue> = weightMap
  const shardOf = new Map<string, string>()
  for (const [name, shard] of entries) {
    if (typeof shard !== 'string' || !isPlainName(shard)) {
      const got = typeof shard === 'string' ? quote(shard) : 'no text'
      const expected = 'the name of a .safetensors file beside the index'
      throw badIndex(file, `weight_map[${quote(name)}]`, expected, got)
    }
    shardOf.set(name, shard)
  }
  return shardOf
}

/** Neither a path nor a way out of the folder. */
function isPlainName(name: string): boolean {
  return name.length <= 255 && /^[^/\\\0]+\.safetensors$/.test(name)
}

async function readShard(
  indexFile: string,
  shard: string,
  shardOf: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, StoredTensor>> {
  const file = join(dirname(indexFile), shard)
  try {
    return await readSafetensors(file)
  } catch (cause) {
    if ((cause as ServingError).code !== 'CHECKPOINT_NOT_FOUND') throw cause
    const tensors = [...shardOf].filter(([, name]) => name === shard).map(([name]) => name)
    const tensor = quote(tensors[0] ?? '')
    const details = { file: indexFile, shard: file, tensor, numTensors: tensors.length }
    throw checkpointError('CHECKPOINT_SHARD_MISSING', { details, cause })
  }
}

function mismatch(file: string, name: string, expected: string, got: string): Error {
  const details = { file, tensor: quote(name), expected, got }
  return checkpointError('CHECKPOINT_SHARD_MISMATCH', { details })
}

function badIndex(file: string, field: string, expected: string, got: string): Error {
  return errorAt('CHECKPOINT_BAD_FIELD', { file, offset: 0, field, expected, got })
}
