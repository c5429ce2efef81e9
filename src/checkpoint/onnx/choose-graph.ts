/**
 * Which graph of a folder runs: the one that was named, the one that `genai_config.json` names, or the most exact of
 * the variants that Optimum and onnx-community publish side by side. The reason goes with the choice.
 *
 *   decoder_model_merged.onnx, model.onnx         as exported
 *   …_fp16 _int8 _quantized _uint8 _q8 _q4 …      the same, coarser
 */

import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { exportError, readFailure } from '../errors.ts'

export const GRAPH_FOLDER = 'onnx'

export interface GraphChoice {
  readonly graphFile: string
  readonly reason: string
  readonly otherGraphs: readonly string[]
}

/** A decoder in one graph; a pair of graphs with and without past is not one. */
const FAMILIES = ['decoder_model_merged', 'model']
/** Most exact first. */
const VARIANTS = ['', '_fp16', '_int8', '_quantized', '_uint8', '_q8', '_q4', '_q4f16', '_bnb4']

/** Paths of all `.onnx` files in the folder and in its folder `onnx`, sorted. */
export async function listGraphs(folder: string): Promise<readonly string[]> {
  const files: string[] = []
  for (const place of [folder, join(folder, GRAPH_FOLDER)]) {
    try {
      const names = await readdir(place)
      files.push(...names.filter((name) => name.endsWith('.onnx')).map((name) => join(place, name)))
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      // Most folders have no folder `onnx`, or a file of that name.
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw readFailure(place, 0, cause)
    }
  }
  return files.sort()
}

/** @throws ServingError CHECKPOINT_UNSUPPORTED_EXPORT when none of the graphs is a decoder by its name */
export function chooseGraph(folder: string, graphs: readonly string[]): GraphChoice {
  const decoders = graphs.filter((file) => rank(file) >= 0)
  const [only] = graphs
  if (decoders.length === 0 && graphs.length === 1 && only !== undefined) {
    return { graphFile: only, reason: 'the only graph of the folder', otherGraphs: [] }
  }
  const [best, ...others] = [...decoders].sort((a, b) => rank(a) - rank(b))
  if (best === undefined) {
    throw exportError({
      file: folder,
      field: 'the graph',
      expected: 'model.onnx or decoder_model_merged.onnx, or one of their variants',
      got: graphs
        .map((file) => basename(file))
        .slice(0, 8)
        .join(', '),
      next: 'give the path of the .onnx file that is the decoder',
    })
  }
  const count = decoders.length
  const reason =
    count === 1
      ? 'the only decoder of the folder'
      : `the most exact of ${count} variants; give the path of another .onnx file to serve that`
  return { graphFile: best, reason, otherGraphs: others.sort() }
}

/** Place in the order of choice; -1 for what is no decoder by its name. */
function rank(file: string): number {
  const name = basename(file, '.onnx')
  for (const [family, prefix] of FAMILIES.entries()) {
    if (!name.startsWith(prefix)) continue
    const variant = VARIANTS.indexOf(name.slice(prefix.length))
    if (variant >= 0) return variant * FAMILIES.length + family
  }
  return -1
}
