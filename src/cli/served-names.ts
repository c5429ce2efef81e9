/** What a served model is called when nobody said so: its catalog name, or its file's name as people would type it. */

import { basename } from 'node:path'
import type { ModelReference } from '../store/model-reference.ts'
import type { ModelSource } from '../store/source.ts'

/** First the id. */
export function servedNames(
  configured: readonly string[] | null,
  { entry, source }: Pick<ModelReference, 'entry' | 'source'>,
): readonly string[] {
  if (configured !== null) return [...new Set(configured)]
  if (entry !== null) return [entry.id]
  return [nameOfFile(fileOf(source))]
}

function fileOf(source: ModelSource): string {
  switch (source.kind) {
    case 'file':
      return source.path
    case 'url':
      return decodeURIComponent(new URL(source.url).pathname)
    case 'hf':
      return source.file
    case 'pypi':
      return source.member
    case 'joined':
      return source.parts.map(fileOf)[0] ?? ''
  }
}

/** Without what says that it is a part of several. */
function nameOfFile(path: string): string {
  return basename(path).replace(/(?:-\d{5}-of-\d{5})?\.gguf(?:\.part\d+)?$/i, '') || 'model'
}
