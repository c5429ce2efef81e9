/**
 * All metrics of the process as typed objects on one registry, handed to whoever counts.
 *
 * Owns the registry; there is no global one, so two servers in one process (tests) never share a counter. Who counts
 * what: `server` counts HTTP, and per request tokens, latencies and finish reasons as its client sees them; `deployment`
 * counts engines through `EngineMetrics`; the audit log counts itself. Does not know requests, engines or prompts.
 *
 * I1 each metric of `names.ts` is registered exactly once, here.
 */

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ENGINE_LABELS, METRIC_NAMES, MODEL_LABELS } from './names.ts'

type EngineLabel = (typeof ENGINE_LABELS)[number]
type ModelLabel = (typeof MODEL_LABELS)[number]

export interface Metrics {
  readonly registry: Registry
  readonly numRequestsRunning: Gauge<EngineLabel>
  readonly numRequestsWaiting: Gauge<EngineLabel>
  readonly kvCacheUsage: Gauge<EngineLabel>
  readonly numPreemptions: Counter<EngineLabel>
  readonly iterationTokens: Histogram<EngineLabel>
  readonly engineSteps: Counter<EngineLabel>
  readonly draftTokens: Counter<EngineLabel>
  readonly acceptedDraftTokens: Counter<EngineLabel>
  readonly kvCopiedTails: Counter<EngineLabel>
  readonly kvSwappedOutBlocks: Counter<EngineLabel>
  readonly kvSwappedInBlocks: Counter<EngineLabel>
  readonly kvRestoredTokens: Counter<EngineLabel>
  readonly kvDiskSavedBlocks: Counter<EngineLabel>
  readonly kvDiskDroppedBlocks: Counter<EngineLabel>
  readonly kvDiskLoadedBlocks: Counter<EngineLabel>
  readonly kvDiskBadFiles: Counter<EngineLabel>
  readonly kvDiskBytes: Gauge<EngineLabel>
  readonly kvDiskPaused: Gauge<EngineLabel>
  readonly engineResidentMemory: Gauge<EngineLabel>
  readonly replicaRestarts: Counter<EngineLabel>
  readonly prefixCacheQueries: Counter<ModelLabel>
  readonly prefixCacheHits: Counter<ModelLabel>
  readonly promptTokens: Counter<ModelLabel>
  readonly generationTokens: Counter<ModelLabel>
  readonly requestSuccess: Counter<ModelLabel | 'finished_reason'>
  readonly timeToFirstToken: Histogram<ModelLabel>
  readonly interTokenLatency: Histogram<ModelLabel>
  readonly endToEndLatency: Histogram<ModelLabel>
  readonly queueTime: Histogram<ModelLabel>
  readonly prefillTime: Histogram<ModelLabel>
  readonly decodeTime: Histogram<ModelLabel>
  readonly requestPromptTokens: Histogram<ModelLabel>
  readonly requestGenerationTokens: Histogram<ModelLabel>
  readonly buildInfo: Gauge<'version'>
  readonly httpRequests: Counter<'method' | 'route' | 'status'>
  readonly requestsRefused: Counter<'code'>
  readonly openStreams: Gauge
  readonly auditRecords: Counter
  readonly auditFailures: Counter
  readonly auditPending: Gauge
}

// Bucket edges are vLLM's, so that its dashboards fit; below 10 ms we add edges, because a small model on a CPU
// draws tokens faster than vLLM's first inter-token bucket.
const FIRST_TOKEN_SECONDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  160, 640, 2560,
]
const INTER_TOKEN_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5,
  7.5, 10, 20, 40, 80,
]
const REQUEST_SECONDS = [
  0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920,
  7680,
]
const TOKEN_COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000]
const STEP_TOKENS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]

/** Register every metric on a new registry. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const engineGauge = (key: keyof typeof METRIC_NAMES): Gauge<EngineLabel> =>
    new Gauge({ ...METRIC_NAMES[key], labelNames: ENGINE_LABELS, registers })
  const engineCounter = (key: keyof typeof METRIC_NAMES): Counter<EngineLabel> =>
    new Counter({ ...METRIC_NAMES[key], labelNames: ENGINE_LABELS, registers })
  const modelCounter = (key: keyof typeof METRIC_NAMES): Counter<ModelLabel> =>
    new Counter({ ...METRIC_NAMES[key], labelNames: MODEL_LABELS, registers })
  const modelHistogram = (
    key: keyof typeof METRIC_NAMES,
    buckets: number[],
  ): Histogram<ModelLabel> =>
    new Histogram({ ...METRIC_NAMES[key], labelNames: MODEL_LABELS, buckets, registers })
  const buildInfo = new Gauge({ ...METRIC_NAMES.buildInfo, labelNames: ['version'], registers })
  buildInfo.set({ version }, 1)
  return {
    registry,
    buildInfo,
    numRequestsRunning: engineGauge('numRequestsRunning'),
    numRequestsWaiting: engineGauge('numRequestsWaiting'),
    kvCacheUsage: engineGauge('kvCacheUsage'),
    numPreemptions: engineCounter('numPreemptions'),
    iterationTokens: new Histogram({
      ...METRIC_NAMES.iterationTokens,
      labelNames: ENGINE_LABELS,
      buckets: STEP_TOKENS,
      registers,
    }),
    engineSteps: engineCounter('engineSteps'),
    draftTokens: engineCounter('draftTokens'),
    acceptedDraftTokens: engineCounter('acceptedDraftTokens'),
    kvCopiedTails: engineCounter('kvCopiedTails'),
    kvSwappedOutBlocks: engineCounter('kvSwappedOutBlocks'),
    kvSwappedInBlocks: engineCounter('kvSwappedInBlocks'),
    kvRestoredTokens: engineCounter('kvRestoredTokens'),
    kvDiskSavedBlocks: engineCounter('kvDiskSavedBlocks'),
    kvDiskDroppedBlocks: engineCounter('kvDiskDroppedBlocks'),
    kvDiskLoadedBlocks: engineCounter('kvDiskLoadedBlocks'),
    kvDiskBadFiles: engineCounter('kvDiskBadFiles'),
    kvDiskBytes: engineGauge('kvDiskBytes'),
    kvDiskPaused: engineGauge('kvDiskPaused'),
    engineResidentMemory: engineGauge('engineResidentMemory'),
    replicaRestarts: engineCounter('replicaRestarts'),
    prefixCacheQueries: modelCounter('prefixCacheQueries'),
    prefixCacheHits: modelCounter('prefixCacheHits'),
    promptTokens: modelCounter('promptTokens'),
    generationTokens: modelCounter('generationTokens'),
    requestSuccess: new Counter({
      ...METRIC_NAMES.requestSuccess,
      labelNames: [...MODEL_LABELS, 'finished_reason'],
      registers,
    }),
    timeToFirstToken: modelHistogram('timeToFirstToken', FIRST_TOKEN_SECONDS),
    interTokenLatency: modelHistogram('interTokenLatency', INTER_TOKEN_SECONDS),
    endToEndLatency: modelHistogram('endToEndLatency', REQUEST_SECONDS),
    queueTime: modelHistogram('queueTime', REQUEST_SECONDS),
    prefillTime: modelHistogram('prefillTime', REQUEST_SECONDS),
    decodeTime: modelHistogram('decodeTime', REQUEST_SECONDS),
    requestPromptTokens: modelHistogram('requestPromptTokens', TOKEN_COUNTS),
    requestGenerationTokens: modelHistogram('requestGenerationTokens', TOKEN_COUNTS),
    httpRequests: new Counter({
      ...METRIC_NAMES.httpRequests,
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    requestsRefused: new Counter({
      ...METRIC_NAMES.requestsRefused,
      labelNames: ['code'],
      registers,
    }),
    openStreams: new Gauge({ ...METRIC_NAMES.openStreams, registers }),
    auditRecords: new Counter({ ...METRIC_NAMES.auditRecords, registers }),
    auditFailures: new Counter({ ...METRIC_NAMES.auditFailures, registers }),
    auditPending: new Gauge({ ...METRIC_NAMES.auditPending, registers }),
  }
}
