/**
 * A GGUF model in several files: any part names all of them, and they are one checkpoint.
 *
 * Owns nothing. The first part has the whole metadata; the others have what says where they belong.
 * I1: part i of n says `split.no` = i − 1 and `split.count` = n, all say the same `split.tensors.count`, and that many
 *     tensors lie in them together; no name twice. So no part is missing, swapped, doubled or of another model.
 * Source: llama.cpp, `tools/gguf-split` and `llama_model_loader`.
 */

import { splitName } from '../../base/split-name.ts'
import type { Checkpoint, MetadataValue, TensorInfo } from '../checkpoint.ts'
import { checkpointError } from '../errors.ts'
import { quote } from './metadata.ts'

/** One file as its own header has it. */
export interface GgufPart {
  readonly file: string
  readonly metadata: ReadonlyMap<string, MetadataValue>
  readonly tensors: ReadonlyMap<string, TensorInfo>
}

/** How many files the model has by this part's own word; 1 for a model in one file. */
export function countOfParts({ metadata }: GgufPart): number {
  const count = metadata.get('split.count')
  return typeof count === 'number' && count > 1 ? count : 1
}

/**
 * Put the parts together.
 *
 * @param given - the part that was opened
 * @param read - opens another one
 * @throws ServingError CHECKPOINT_SPLIT_MISMATCH, CHECKPOINT_PART_MISSING, and those of `read`
 */
export async function joinParts(
  given: GgufPart,
  read: (file: string) => Promise<GgufPart>,
): Promise<Checkpoint> {
  const paths = pathsOf(given)
  const tensors = new Map<string, TensorInfo>()
  let first = given
  let totalTensorBytes = 0
  for (const [index, file] of paths.entries()) {
    const part = file === given.file ? given : await readPart(file, given.file, read)
    if (index === 0) first = part
    checkPlace(part, index, paths.length)
    for (const [name, tensor] of part.tensors) {
      const earlier = tensors.get(name)
      if (earlier !== undefined) {
        throw mismatch(file, `tensor ${quote(name)}`, 'in one part', `in ${earlier.file} too`)
      }
      tensors.set(name, tensor)
      totalTensorBytes += tensor.byteLength
    }
    checkCount(part, first)
  }
  const numTensors = first.metadata.get('split.tensors.count')
  if (numTensors !== tensors.size) {
    const got = `${tensors.size} in all parts`
    throw mismatch(
      first.file,
      'split.tensors.count',
      `the number of tensors, ${shown(numTensors)}`,
      got,
    )
  }
  return { kind: 'gguf', files: paths, metadata: first.metadata, tensors, totalTensorBytes }
}

function pathsOf(part: GgufPart): readonly string[] {
  const count = countOfParts(part)
  const split = splitName(part.file)
  if (split?.count === count) return split.paths
  const expected = `a name like NAME-00001-of-${String(count).padStart(5, '0')}.gguf`
  throw mismatch(
    part.file,
    'the file’s name',
    expected,
    split === undefined ? 'another' : `of ${split.count} parts`,
  )
}

async function readPart(
  file: string,
  given: string,
  read: (file: string) => Promise<GgufPart>,
): Promise<GgufPart> {
  try {
    return await read(file)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'CHECKPOINT_NOT_FOUND') throw cause
    throw checkpointError('CHECKPOINT_PART_MISSING', {
      details: { file: given, part: file },
      cause,
    })
  }
}

function checkPlace({ file, metadata }: GgufPart, index: number, count: number): void {
  const gotCount = metadata.get('split.count')
  if (gotCount !== count) throw mismatch(file, 'split.count', String(count), shown(gotCount))
  const gotNumber = metadata.get('split.no')
  if (gotNumber !== index) throw mismatch(file, 'split.no', String(index), shown(gotNumber))
}

function checkCount({ file, metadata }: GgufPart, first: GgufPart): void {
  const expected = first.metadata.get('split.tensors.count')
  const got = metadata.get('split.tensors.count')
  if (got !== expected) throw mismatch(file, 'split.tensors.count', shown(expected), shown(got))
}

function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'object' ? 'no number' : quote(String(value))
}

function mismatch(file: string, field: string, expected: string, got: string): Error {
  return checkpointError('CHECKPOINT_SPLIT_MISMATCH', { details: { file, field, expected, got } })
}
