/**
 * Opens a Hugging Face folder, or one safetensors file with `config.json` beside it, as a `Checkpoint`.
 *
 *   folder  config.json   model.safetensors, or model.safetensors.index.json with its shards   generation_config.json
 *
 * Knows which file says what; knows no architecture. `model.safetensors` goes before an index, as in transformers.
 * The metadata are the members of `config.json`, with those of `generation_config.json` as `generation_config` and
 * without the quantization, which is read here: quantized weights are single tensors to everybody else (`../quantized`).
 */

import { dirname, join } from 'node:path'
import type { Checkpoint, TensorInfo } from '../checkpoint.ts'
import { checkpointError } from '../errors.ts'
import { quantizedTensorError } from '../quantized/companions.ts'
import { logicalTensors } from '../quantized/logical-tensors.ts'
import { QUANTIZATION_MEMBERS, readScheme } from '../quantized/read-scheme.ts'
import type { StoredTensor } from '../quantized/stored-quantization.ts'
import { readSafetensors } from './header.ts'
import { type JsonObject, parseJsonObject } from './json-text.ts'
import { exists, readWhole, withFile } from './read-file.ts'
import { readSharded, type ShardedTensors } from './shards.ts'

const WEIGHTS = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'
export const CONFIG_FILE = 'config.json'
const GENERATION = 'generation_config.json'
/** Those of models with a thousand labels stay below 100 kB. */
const MAX_CONFIG_BYTES = 16 * 1024 * 1024

/** Whether a folder has weights that this file reads. */
export async function hasSafetensors(folder: string): Promise<boolean> {
  return (await exists(join(folder, WEIGHTS))) || (await exists(join(folder, INDEX)))
}

/**
 * Read the index of a folder.
 *
 * @throws ServingError of this room for anything the file system or the files' bytes can do
 *
 * Cost: reads `config.json`, the index and the shards' headers; of tensors, only a quantization's shapes and JSON.
 */
export async function readSafetensorsFolder(folder: string): Promise<Checkpoint> {
  if (await exists(join(folder, WEIGHTS))) return readSafetensorsFile(join(folder, WEIGHTS))
  if (!(await exists(join(folder, INDEX)))) throw withoutWeights(folder)
  const metadata = await readMetadata(folder)
  return checkpointOf(folder, metadata, await readSharded(join(folder, INDEX)))
}

/** Read one file's index, and the `config.json` beside it. Throws and costs as `readSafetensorsFolder`. */
export async function readSafetensorsFile(file: string): Promise<Checkpoint> {
  const folder = dirname(file)
  const metadata = await readMetadata(folder)
  return checkpointOf(folder, metadata, { files: [file], tensors: await readSafetensors(file) })
}

async function checkpointOf(
  folder: string,
  config: JsonObject,
  { files, tensors: stored }: ShardedTensors,
): Promise<Checkpoint> {
  const configFile = join(folder, CONFIG_FILE)
  const scheme = readScheme(configFile, config)
  const tensors = await logicalTensors(stored, scheme, readTensorBytes)
  const metadata = new Map(config)
  for (const key of QUANTIZATION_MEMBERS) metadata.delete(key)
  const all = [configFile, ...files]
  const totalTensorBytes = sumBytes(tensors.values())
  const quantization = scheme === null ? {} : { quantization: scheme.description }
  return { kind: 'safetensors', files: all, metadata, tensors, totalTensorBytes, ...quantization }
}

function readTensorBytes(tensor: StoredTensor, limitBytes: number): Promise<Buffer> {
  const { file, offset, byteLength, name } = tensor
  return withFile(file, ({ read }) => {
    if (byteLength <= limitBytes) return read(offset, byteLength)
    const expected = `at most ${limitBytes} bytes`
    throw quantizedTensorError(file, name, expected, `${byteLength}`)
  })
}

function sumBytes(tensors: Iterable<TensorInfo>): number {
  let bytes = 0
  for (const { byteLength } of tensors) bytes += byteLength
  return bytes
}

async function readMetadata(folder: string): Promise<JsonObject> {
  const metadata = new Map(await readConfig(join(folder, CONFIG_FILE)))
  const generation = join(folder, GENERATION)
  if (await exists(generation)) metadata.set('generation_config', await readConfig(generation))
  return metadata
}

async function readConfig(file: string): Promise<JsonObject> {
  const bytes = await readWhole(file, MAX_CONFIG_BYTES)
  return parseJsonObject(bytes, { file, offset: 0, field: 'configuration' })
}

function withoutWeights(file: string): Error {
  const expected = `a folder with ${WEIGHTS} or ${INDEX}`
  const next = 'fetch the missing files'
  const details = { file, expected, got: 'a folder without either', next }
  return checkpointError('CHECKPOINT_UNSUPPORTED_KIND', { details })
}
