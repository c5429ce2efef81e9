/**
 * Opens a GGUF model as a `Checkpoint`: header, metadata, tensor table, of all its files. No tensor byte is read.
 *
 * Knows the order of a GGUF file's parts; knows nothing of architectures. Holds files open only while reading.
 */

import { type FileHandle, open } from 'node:fs/promises'
import type { Checkpoint } from '../checkpoint.ts'
import { readFailure } from '../errors.ts'
import { ByteCursor } from './byte-cursor.ts'
import { readHeader } from './header.ts'
import { type MetadataOptions, readMetadata } from './metadata.ts'
import { countOfParts, type GgufPart, joinParts } from './split.ts'
import { readTensorInfos } from './tensor-infos.ts'

/** The largest vocabularies make headers of about 30 MB. */
const MAX_HEADER_BYTES = 256 * 1024 * 1024

/**
 * Read the index of a model; any of its files names it.
 *
 * @throws ServingError of this room for anything the file system or the files' bytes can do
 *
 * Cost: reads headers only; SmolLM2's 1.7 MB with 98,000 strings take about 30 ms.
 */
export async function readGguf(file: string, options: MetadataOptions = {}): Promise<Checkpoint> {
  const read = (name: string) => readPart(name, options)
  const part = await read(file)
  if (countOfParts(part) > 1) return joinParts(part, read)
  const { metadata, tensors } = part
  let totalTensorBytes = 0
  for (const tensor of tensors.values()) totalTensorBytes += tensor.byteLength
  return { kind: 'gguf', files: [file], metadata, tensors, totalTensorBytes }
}

async function readPart(file: string, options: MetadataOptions): Promise<GgufPart> {
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (cause) {
    throw readFailure(file, 0, cause)
  }
  try {
    const { size: fileSize } = await handle.stat()
    const cursor = new ByteCursor({ file, handle, fileSize, limitBytes: MAX_HEADER_BYTES })
    const header = await readHeader(cursor)
    const metadata = await readMetadata(cursor, header.numKeyValues, options)
    const tensors = await readTensorInfos(cursor, header.numTensors, metadata)
    return { file, metadata, tensors }
  } finally {
    await handle.close()
  }
}
