/**
 * Opens one GGUF file as a `Checkpoint`: header, metadata, tensor table. No tensor byte is read.
 *
 * Knows the order of a GGUF file's parts; knows nothing of architectures. Holds the file open only while reading.
 */

import { type FileHandle, open } from 'node:fs/promises'
import type { Checkpoint, MetadataValue } from '../checkpoint.ts'
import { errorAt, readFailure } from '../errors.ts'
import { ByteCursor } from './byte-cursor.ts'
import { readHeader } from './header.ts'
import { readMetadata } from './metadata.ts'
import { readTensorInfos } from './tensor-infos.ts'

/** The largest vocabularies make headers of about 30 MB. */
const MAX_HEADER_BYTES = 256 * 1024 * 1024

/**
 * Read a GGUF file's index.
 *
 * @throws ServingError of this room for anything the file system or the file's bytes can do
 *
 * Cost: reads the header only; SmolLM2's 1.7 MB with 98,000 strings take about 30 ms.
 */
export async function readGguf(file: string): Promise<Checkpoint> {
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (cause) {
    throw readFailure(file, 0, cause)
  }
  try {
    const { size } = await handle.stat()
    return await readIndex(
      new ByteCursor({ file, handle, fileSize: size, limitBytes: MAX_HEADER_BYTES }),
    )
  } finally {
    await handle.close()
  }
}

async function readIndex(cursor: ByteCursor): Promise<Checkpoint> {
  const header = await readHeader(cursor)
  const metadata = await readMetadata(cursor, header.numKeyValues)
  refuseSplit(cursor, metadata)
  const tensors = await readTensorInfos(cursor, header.numTensors, metadata)
  let totalTensorBytes = 0
  for (const tensor of tensors.values()) totalTensorBytes += tensor.byteLength
  return { kind: 'gguf', files: [cursor.file], metadata, tensors, totalTensorBytes }
}

/** One part of several holds some of the tensors only, and loading it would fail far from the reason. */
function refuseSplit(cursor: ByteCursor, metadata: ReadonlyMap<string, MetadataValue>): void {
  const count = metadata.get('split.count')
  if (typeof count !== 'number' || count <= 1) return
  throw errorAt('CHECKPOINT_SPLIT_FILE', {
    file: cursor.file,
    offset: cursor.position,
    field: 'metadata "split.count" (read before this byte)',
    expected: 'a model in one file',
    got: `one of ${count} parts`,
    next: 'join the parts with llama-gguf-split --merge',
  })
}
