import { describe, expect, it } from 'vitest'
import { splitName } from '../../../src/base/split-name.ts'

describe('splitName', () => {
  it('names all parts by any of them', () => {
    expect(splitName('/m/a-00002-of-00003.gguf')).toEqual({
      number: 2,
      count: 3,
      paths: ['/m/a-00001-of-00003.gguf', '/m/a-00002-of-00003.gguf', '/m/a-00003-of-00003.gguf'],
    })
  })

  it.each([
    'a.gguf',
    'a-00001-of-00001.gguf',
    'a-00000-of-00003.gguf',
    'a-00004-of-00003.gguf',
    'a-1-of-3.gguf',
    'a-00001-of-99999.gguf',
    'a-00001-of-00003.safetensors',
  ])('leaves %s alone', (path) => {
    expect(splitName(path)).toBeUndefined()
  })
})
