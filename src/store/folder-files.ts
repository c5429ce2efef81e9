/**
 * Which files of a model's folder count, by their names alone: the same rule for a folder of this machine and for one that
 * still lies on a hub, so that both have one digest.
 *
 *   weights          files that count
 *   safetensors      those directly inside whose names end as in `ENDINGS`, and chat templates
 *   exported ONNX    the same, and those beside the graphs (`exported-files.ts`)
 *
 * Notes, pictures and other formats do not count. Owns nothing; reads nothing.
 */

import { CONFIGS, exportedFiles } from './exported-files.ts'

/** Weights, configuration, tokenizer, chat template. */
const ENDINGS = /\.(?:safetensors|json|jinja|model|txt)$/
/** As transformers names it. */
export const TEMPLATE_FOLDER = 'additional_chat_templates'

/** Whether the names directly inside a folder make it a model's. */
export function isModelFolder(names: readonly string[]): boolean {
  return CONFIGS.some((name) => names.includes(name))
}

/**
 * @param names - files under the folder, with slashes; those of deeper folders than are looked into are ignored
 * @param graph - the exported graph that is named, `onnx/model.onnx`; `null` = whichever is chosen
 * @returns sorted as bytes
 */
export function modelFiles(names: readonly string[], graph: string | null): readonly string[] {
  const plain = names.filter((name) => !name.includes('/') && ENDINGS.test(name))
  const templates = names.filter((name) => /^[^/]+\/[^/]+\.jinja$/.test(name))
  const chosen = templates.filter((name) => name.startsWith(`${TEMPLATE_FOLDER}/`))
  return sorted([...new Set([...plain, ...chosen, ...exportedFiles(names, graph)])])
}

/** As bytes, which is how joined digests order them. */
export function sorted(names: readonly string[]): readonly string[] {
  return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}
