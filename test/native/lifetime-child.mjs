/**
 * One way for a process or a worker to end while it holds a model; run by `lifetime.test.ts` as a child process.
 * Plain JavaScript, because Node 20 runs no TypeScript.
 *
 * usage: node lifetime-child.mjs PLAN.json SCENARIO
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const require = createRequire(import.meta.url)
const [planFile, scenario] = isMainThread ? process.argv.slice(2) : workerData

const plan = JSON.parse(readFileSync(planFile, 'utf8'))
const { Model } = require(plan.addon)

async function readyModel() {
  const model = new Model(plan.options)
  const weights = plan.weights.map((weight) =>
    weight.values === undefined ? weight : { ...weight, values: Float32Array.from(weight.values) },
  )
  await model.loadWeights(weights)
  await model.createSession(readFileSync(plan.onnx))
  return model
}

/** A prompt as long as the model allows, so that the step is under way for some time. */
function longStep(model, tokens = plan.options.maxNumBatchedTokens) {
  const { buffers } = model
  for (let row = 0; row < tokens; row++) {
    buffers.tokenIds[row] = row % 96
    buffers.positions[row] = row
    buffers.slotMapping[row] = row
  }
  for (let block = 0; block < plan.options.maxBlocksPerSeq; block++)
    buffers.blockTables[block] = block
  buffers.queryStarts[0] = 0
  buffers.queryStarts[1] = tokens
  buffers.contextLengths[0] = tokens
  buffers.logitsRows[0] = tokens - 1
  buffers.samplerSlots[0] = -1
  buffers.targetIds[0] = -1
  buffers.topLogprobCounts[0] = -1
  return model.step(tokens, 1, 1)
}

function worker(inner) {
  return new Worker(new URL(import.meta.url), { workerData: [planFile, inner] })
}

function ended(thread) {
  return new Promise((resolve, reject) => thread.on('exit', resolve).on('error', reject))
}

const scenarios = {
  'natural exit without dispose': async () => {
    await longStep(await readyModel())
  },
  'natural exit waits for the pending promise': async () => {
    longStep(await readyModel()).then(() => console.log('settled'))
  },
  'process.exit while a step is under way': async () => {
    longStep(await readyModel())
    // Long enough for the compute thread to have begun, short of the step's end.
    await new Promise((resolve) => setTimeout(resolve, 5))
    process.exit(0)
  },
  'a step that fails': async () => {
    const model = await readyModel()
    await longStep(model, 4)
    model.buffers.tokenIds[0] = -1
    await model
      .step(4, 1, 1)
      .catch((error) => error.code === 'NATIVE_STEP_FAILED' || console.log(error))
    await model.createSession(new Uint8Array([1])).catch(() => {})
    await longStep(model, 4)
  },
  'process.exit right after dispose': async () => {
    const model = await readyModel()
    longStep(model)
    model.dispose()
    process.exit(0)
  },
  'a worker that ends by itself': async () => {
    console.log(`worker ${await ended(worker('natural exit without dispose'))}`)
  },
  'workers one after another': async () => {
    for (let round = 0; round < 5; round++) await ended(worker('natural exit without dispose'))
  },
  'workers at the same time, and the main thread': async () => {
    const threads = [1, 2, 3].map(() => ended(worker('natural exit without dispose')))
    await longStep(await readyModel())
    await Promise.all(threads)
  },
  'a worker terminated while its step is under way': async () => {
    for (let round = 0; round < 5; round++) {
      const thread = worker('steps without end')
      await new Promise((resolve) => thread.once('message', resolve))
      await thread.terminate()
    }
  },
  'steps without end': async () => {
    const { parentPort } = await import('node:worker_threads')
    const model = await readyModel()
    parentPort.postMessage('started')
    for (;;) await longStep(model)
  },
  'a library only loaded in a worker': async () => {
    await ended(worker('natural exit without dispose'))
    await longStep(await readyModel())
  },
  'models that nobody disposed of are collected': async () => {
    for (let round = 0; round < 30; round++) {
      await longStep(await readyModel(), 16)
      globalThis.gc()
      await new Promise((resolve) => setImmediate(resolve))
    }
    const threads = readFileSync('/proc/self/status', 'utf8').match(/^Threads:\s*(\d+)/m)?.[1]
    console.log(`threads ${threads}`)
  },
  'ten thousand steps': async () => {
    const model = await readyModel()
    for (let round = 0; round < 2000; round++) await longStep(model, 1 + (round % 20))
    globalThis.gc()
    const before = process.memoryUsage().rss
    for (let round = 0; round < 10_000; round++) await longStep(model, 1 + (round % 20))
    globalThis.gc()
    console.log(`grew ${process.memoryUsage().rss - before}`)
    model.dispose()
  },
  'with onnxruntime-node in the same process': async () => {
    const model = await readyModel()
    const { InferenceSession } = require('onnxruntime-node')
    await longStep(model)
    // Its session refuses our domain, which shows that it works beside ours.
    await InferenceSession.create(readFileSync(plan.onnx)).catch(() => console.log('refused'))
    await longStep(model)
  },
}

await scenarios[scenario]()
