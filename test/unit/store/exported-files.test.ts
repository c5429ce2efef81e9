/** Which files of an exported folder its digest covers, by what was named. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { localFilesOf } from '../../../src/store/local-files.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-exported-files-'))
  await place(
    'config.json',
    'tokenizer.json',
    'README.md',
    '.gitattributes',
    'onnx/model.onnx',
    'onnx/model.onnx_data',
    'onnx/model.onnx_data_1',
    'onnx/model_q4.onnx',
    'onnx/model_q4.onnx_data',
    'onnx/onnx__MatMul_12',
    'onnx/nested/model.onnx',
    'other/model.onnx',
  )
})
afterAll(() => rm(folder, { recursive: true }))

async function place(...names: string[]): Promise<void> {
  for (const name of names) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), name)
  }
}

async function namesOf(path: string): Promise<readonly string[] | undefined> {
  return (await localFilesOf(path))?.names
}

it('covers configuration, graphs and the files beside them, for a folder', async () => {
  expect(await namesOf(folder)).toEqual([
    'config.json',
    'onnx/model.onnx',
    'onnx/model.onnx_data',
    'onnx/model.onnx_data_1',
    'onnx/model_q4.onnx',
    'onnx/model_q4.onnx_data',
    'onnx/onnx__MatMul_12',
    'tokenizer.json',
  ])
})

it('leaves the other graphs and their files out, for a graph', async () => {
  expect(await namesOf(join(folder, 'onnx/model_q4.onnx'))).toEqual([
    'config.json',
    'onnx/model_q4.onnx',
    'onnx/model_q4.onnx_data',
    'onnx/onnx__MatMul_12',
    'tokenizer.json',
  ])
})

it('finds the configuration of onnxruntime-genai, and graphs beside it', async () => {
  await place('genai/genai_config.json', 'genai/model.onnx', 'genai/model.onnx.data')
  const names = ['genai_config.json', 'model.onnx', 'model.onnx.data']
  expect(await namesOf(join(folder, 'genai'))).toEqual(names)
  expect(await namesOf(join(folder, 'genai/model.onnx'))).toEqual(names)
})

it('does not look at graphs where safetensors weights go before them', async () => {
  await place('both/config.json', 'both/model.safetensors', 'both/onnx/model.onnx')
  expect(await namesOf(join(folder, 'both'))).toEqual(['config.json', 'model.safetensors'])
  expect(await namesOf(join(folder, 'both/onnx/model.onnx'))).toEqual([
    'config.json',
    'model.safetensors',
    'onnx/model.onnx',
  ])
})
