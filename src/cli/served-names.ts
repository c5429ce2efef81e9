/** What a served model is called when nobody said so: its catalog name, or its file's name as people would type it. */

import { basename } from 'node:path'
import type { ModelReference } from '../store/model-reference.ts'

/** First the id. */
export function servedNames(
  configured: readonly string[] | null,
  { entry, source }: Pick<ModelReference, 'entry' | 'source'>,
): readonly string[] {
  if (configured !== null) return [...new Set(configured)]
  if (entry !== null) return [entry.id]
  switch (source.kind) {
    case 'file':
      return [nameOfFile(source.path)]
    case 'url':
      return [nameOfFile(decodeURIComponent(new URL(source.url).pathname))]
    case 'hf':
      return [nameOfFile(source.file)]
    case 'pypi':
      return [nameOfFile(source.member)]
  }
}

function nameOfFile(path: string): string {
  return basename(path).replace(/\.gguf$/i, '') || 'model'
}
