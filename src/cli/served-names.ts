/** What a served model is called when nobody said so: its catalog name, or its file's name as people would type it. */

import { basename, dirname } from 'node:path'
import type { ModelReference } from '../store/model-reference.ts'
import type { ModelSource } from '../store/source.ts'

/** First the id. */
export function servedNames(
  configured: readonly string[] | null,
  { entry, source }: Pick<ModelReference, 'entry' | 'source'>,
): readonly string[] {
  if (configured !== null) return [...new Set(configured)]
  if (entry !== null) return [entry.id]
  // As vLLM and the hub's clients name it.
  if (source.kind === 'hf' && source.file === null) return [source.repository]
  return [nameOfFile(fileOf(source))]
}

function fileOf(source: ModelSource): string {
  switch (source.kind) {
    case 'file':
      return source.path
    case 'url':
      return decodeURIComponent(new URL(source.url).pathname)
    case 'hf':
      return source.file ?? source.repository
    case 'pypi':
      return source.member
    case 'joined':
      return source.parts.map(fileOf)[0] ?? ''
  }
}

/** Without what says that it is a part of several. An exported graph is called after its folder. */
function nameOfFile(path: string): string {
  if (/\.onnx$/i.test(path)) return nameOfGraph(path)
  return basename(path).replace(/(?:-\d{5}-of-\d{5})?\.gguf(?:\.part\d+)?$/i, '') || 'model'
}

/** `/m/smollm/onnx/model_q4.onnx` → `smollm-model_q4`, `/m/smollm/model.onnx` → `smollm` */
function nameOfGraph(path: string): string {
  const graph = basename(path).replace(/\.onnx$/i, '')
  const inner = dirname(path)
  const folder = basename(basename(inner) === 'onnx' ? dirname(inner) : inner)
  if (folder === '') return graph || 'model'
  return graph === 'model' ? folder : `${folder}-${graph}`
}
