import { expect, it } from 'vitest'
import { EngineMetrics } from '../../../src/metrics/engine-metrics.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { METRIC_NAMES } from '../../../src/metrics/names.ts'
import { watchProcess } from '../../../src/metrics/process-metrics.ts'

const totals = {
  numRunning: 3,
  numWaiting: 2,
  numFreeBlocks: 25,
  numBlocks: 100,
  numSteps: 10,
  numPreemptions: 4,
  numScheduledTokens: 7,
  numDraftTokens: 9,
  numAcceptedDrafts: 5,
  numCopiedTails: 6,
  numSwappedOutBlocks: 12,
  numSwappedInBlocks: 8,
  numRestoredTokens: 320,
  tier: {
    numSavedBlocks: 20,
    numDroppedBlocks: 2,
    numLoadedBlocks: 10,
    numBadFiles: 1,
    bytes: 4096,
    isPaused: true,
  },
  rssBytes: 1000,
}

async function value(metrics: ReturnType<typeof createMetrics>, name: string, labels = {}) {
  const metric = await metrics.registry.getSingleMetric(name)?.get()
  return metric?.values.find(
    (one) =>
      !String((one as { metricName?: string }).metricName ?? '').endsWith('_bucket') &&
      Object.entries(labels).every(([key, wanted]) => one.labels[key as never] === wanted),
  )?.value
}

it('every name is registered once, and vLLM names are spelt as its dashboards read them', async () => {
  const metrics = createMetrics('1.2.3')
  const stop = watchProcess(metrics)
  const registered = (await metrics.registry.getMetricsAsJSON()).map(({ name }) => name).sort()
  stop()
  expect(registered).toEqual(
    Object.values(METRIC_NAMES)
      .map(({ name }) => name)
      .sort(),
  )
  for (const name of [
    'vllm:num_requests_running',
    'vllm:num_requests_waiting',
    'vllm:kv_cache_usage_perc',
    'vllm:num_preemptions_total',
    'vllm:prompt_tokens_total',
    'vllm:generation_tokens_total',
    'vllm:request_success_total',
    'vllm:time_to_first_token_seconds',
    'vllm:inter_token_latency_seconds',
    'vllm:e2e_request_latency_seconds',
  ]) {
    expect(registered).toContain(name)
  }
})

it('an engine shows its state as gauges and its totals as increases', async () => {
  const metrics = createMetrics('1.2.3')
  const engine = new EngineMetrics(metrics, 'm', 0)
  engine.update(totals)
  engine.update({ ...totals, numSteps: 12, numPreemptions: 5, numRunning: 1 })
  const labels = { model_name: 'm', engine: '0' }
  expect(await value(metrics, 'vllm:num_requests_running', labels)).toBe(1)
  expect(await value(metrics, 'vllm:num_requests_waiting', labels)).toBe(2)
  expect(await value(metrics, 'vllm:kv_cache_usage_perc', labels)).toBe(0.75)
  expect(await value(metrics, 'vllm:num_preemptions_total', labels)).toBe(5)
  expect(await value(metrics, 'ingot_engine_steps_total', labels)).toBe(12)
})

it('counters go on rising when an engine is started again and counts from zero', async () => {
  const metrics = createMetrics('1.2.3')
  const engine = new EngineMetrics(metrics, 'm', 1)
  engine.update(totals)
  engine.stopped()
  engine.restarted()
  const labels = { model_name: 'm', engine: '1' }
  expect(await value(metrics, 'vllm:num_requests_running', labels)).toBe(0)
  engine.update({ ...totals, numSteps: 3, numPreemptions: 1 })
  expect(await value(metrics, 'ingot_engine_steps_total', labels)).toBe(13)
  expect(await value(metrics, 'vllm:num_preemptions_total', labels)).toBe(5)
  expect(await value(metrics, 'ingot_replica_restarts_total', labels)).toBe(1)
})

it('KV that was moved instead of computed is counted, and a paused disk cache is seen', async () => {
  const metrics = createMetrics('1.2.3')
  const engine = new EngineMetrics(metrics, 'm', 0)
  const shown = async () =>
    Object.fromEntries(
      await Promise.all(
        Object.values(METRIC_NAMES)
          .filter(({ name }) => name.startsWith('ingot_kv_'))
          .map(async ({ name }) => [name.slice(9), await value(metrics, name, { engine: '0' })]),
      ),
    )
  engine.update(totals)
  engine.update({ ...totals, numSwappedInBlocks: 9 })
  expect(await shown()).toEqual({
    copied_tails_total: 6,
    swapped_out_blocks_total: 12,
    swapped_in_blocks_total: 9,
    restored_tokens_total: 320,
    disk_saved_blocks_total: 20,
    disk_dropped_blocks_total: 2,
    disk_loaded_blocks_total: 10,
    disk_bad_files_total: 1,
    disk_bytes: 4096,
    disk_paused: 1,
  })
  engine.stopped()
  engine.update({ ...totals, numCopiedTails: 1, tier: null })
  expect(await shown()).toMatchObject({ copied_tails_total: 7, disk_bytes: 0, disk_paused: 0 })
})

it('totals that fell without a word of a restart count from zero too', async () => {
  const metrics = createMetrics('1.2.3')
  const engine = new EngineMetrics(metrics, 'm', 0)
  engine.update(totals)
  engine.update({ ...totals, numSteps: 2 })
  expect(await value(metrics, 'ingot_engine_steps_total', { engine: '0' })).toBe(12)
})

it('a scrape shows the process: memory, and an event-loop delay that notices a blocked loop', async () => {
  const metrics = createMetrics('1.2.3')
  const stop = watchProcess(metrics)
  await new Promise((resolve) => setTimeout(resolve, 30))
  const until = performance.now() + 120
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 30))
  const text = await metrics.registry.metrics()
  stop()
  const delay = Number(/^ingot_event_loop_delay_p99_seconds (\S+)$/m.exec(text)?.[1])
  expect(delay).toBeGreaterThan(0.08)
  expect(Number(/^ingot_resident_memory_bytes (\S+)$/m.exec(text)?.[1])).toBeGreaterThan(1e6)
})

it('two servers in one process share no counter', async () => {
  const first = createMetrics('1')
  const second = createMetrics('1')
  first.promptTokens.inc({ model_name: 'm' }, 5)
  expect(await value(second, 'vllm:prompt_tokens_total', { model_name: 'm' })).toBeUndefined()
})
