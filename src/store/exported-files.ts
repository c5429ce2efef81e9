/**
 * Which files of a folder belong to an exported ONNX decoder, by their names alone: those beside its graphs, in the folder
 * itself or in its folder `onnx`, since a graph may keep its weights in files of any name.
 *
 * Of a graph that is named only its own place counts, without the other graphs and the files that are named after them.
 * Notes, pictures and hidden files never count. Owns nothing; opens no file.
 */

import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** What makes a folder a model: of transformers, of onnxruntime-genai. */
export const CONFIGS: readonly string[] = ['config.json', 'genai_config.json']

export const WEIGHTS: readonly string[] = ['model.safetensors', 'model.safetensors.index.json']
const NOTES = /^(?:\.|README|LICENSE|NOTICE)|\.(?:md|png|jpe?g|gif|svg|webp|py)$/i
export const GRAPH_FOLDER = 'onnx'

/** The folder of a graph's configuration: its own, or the one above when its own is named `onnx` and has none. */
export async function exportedFolderOf(graph: string): Promise<string> {
  const folder = dirname(graph)
  if (basename(folder) !== GRAPH_FOLDER) return folder
  const names = await namesIn(folder)
  return CONFIGS.some((name) => names.includes(name)) ? folder : dirname(folder)
}

/**
 * Those of `names`. None when the folder has safetensors weights, which go before its graphs, and no graph is named.
 *
 * @param names - files under the folder, with slashes
 * @param graph - name of the graph that is to run; `null` = whichever is chosen
 */
export function exportedFiles(names: readonly string[], graph: string | null): readonly string[] {
  if (graph === null && WEIGHTS.some((name) => names.includes(name))) return []
  return ['', `${GRAPH_FOLDER}/`].flatMap((place) => {
    const inside = names.filter(
      (name) => name.startsWith(place) && !name.includes('/', place.length),
    )
    const graphs = inside.filter((name) => name.endsWith('.onnx'))
    const isPlace = graph === null ? graphs.length > 0 : inside.includes(graph)
    if (!isPlace) return []
    const others = graph === null ? [] : graphs.filter((name) => name !== graph)
    // `model_q4.onnx_data` belongs to `model_q4.onnx`.
    return inside.filter(
      (name) =>
        !NOTES.test(name.slice(place.length)) && !others.some((other) => name.startsWith(other)),
    )
  })
}

/** None for what is no folder. */
async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOTDIR' || code === 'ENOENT') return []
    throw cause
  }
}
