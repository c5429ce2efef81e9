/**
 * A machine of paper for the endpoint pool: plans come from a table of sizes, engines load, compute and end in simulated
 * time, and a test says what goes wrong. Time moves only by `advance`.
 */

import { ServingError } from '../../src/base/errors.ts'
import type { SequenceId } from '../../src/base/ids.ts'
import { Adapters } from '../../src/deployment/adapters/adapters.ts'
import type { ModelCard } from '../../src/deployment/deployments.ts'
import { EndpointPool, type PoolOptions } from '../../src/deployment/endpoints/endpoint-pool.ts'
import type {
  EndpointCatalog,
  EndpointSpec,
  VariantSpec,
} from '../../src/deployment/endpoints/endpoint-spec.ts'
import type {
  PoolTools,
  PreparedVariant,
  ReplicaRequest,
} from '../../src/deployment/endpoints/pool-tools.ts'
import type { Replica, ReplicaStatus, SequenceListener } from '../../src/deployment/replica.ts'
import { SequenceIds } from '../../src/deployment/sequence-ids.ts'
import { ChatTemplate } from '../../src/text/chat-template.ts'
import { workerError } from '../../src/worker/errors.ts'
import type { AdapterSpec, EngineDescription, SequenceSpec } from '../../src/worker/messages.ts'
import { ByteTokenizer } from './byte-tokenizer.ts'
import { settle } from './deployment-stage.ts'
import { ManualTimer } from './manual-timer.ts'
import { ENGINE_OPTIONS } from './supervised.ts'

export interface FakeModel {
  readonly weightsBytes: number
  readonly kvBytes: number
  readonly minKvBytes?: number
  readonly loadMs?: number
  /** Of one token of one sequence. */
  readonly tokenMs?: number
}

export const PROCESS_BYTES = 10

export class FakeReplica implements Replica {
  readonly request: ReplicaRequest
  readonly #machine: FakeMachine
  readonly #model: FakeModel
  readonly #inside = new Map<SequenceId, SequenceListener>()
  readonly #probes = new Set<SequenceId>()
  #status: ReplicaStatus = {
    state: 'stopped',
    pid: null,
    numRestarts: 0,
    sinceMs: 0,
    reason: 'it has not been started',
    stats: null,
  }
  #settle: { resolve(value: EngineDescription): void; reject(error: Error): void } | null = null
  #epoch = 0
  #isDeaf = false

  constructor(machine: FakeMachine, asked: ReplicaRequest, model: FakeModel) {
    this.#machine = machine
    this.request = asked
    this.#model = model
  }

  get isAlive(): boolean {
    return this.#status.pid !== null
  }

  get numInside(): number {
    return this.#inside.size
  }

  start(): Promise<EngineDescription> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#launch('starting')
    })
  }

  status(): ReplicaStatus {
    return this.#status
  }

  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void {
    if (this.#status.state !== 'ready') {
      const details = { state: this.#status.state, reason: 'x', retryAfterSeconds: 1 }
      throw workerError('WORKER_NOT_READY', { retryAfterSeconds: 1, details })
    }
    for (const spec of sequences) {
      this.#inside.set(spec.id, listener)
      if (spec.tenant === 'probe') this.#probes.add(spec.id)
      this.#compute(spec, 0, this.#epoch)
    }
  }

  cancel(ids: readonly SequenceId[]): void {
    for (const id of ids) {
      const listener = this.#inside.get(id)
      if (listener === undefined) continue
      this.#machine.timer.after(0, () => {
        if (this.#inside.delete(id)) listener.onUpdate({ ...QUIET, id, finish: 'cancelled' })
      })
    }
  }

  /** Slots that its engine was told to hold. */
  readonly held = new Map<number, string>()
  /** What the next load of an adapter ends with. */
  adapterFault: Error | null = null

  async loadAdapter({ slot, digest }: AdapterSpec): Promise<void> {
    if (this.adapterFault !== null) throw this.adapterFault
    this.held.set(slot, digest)
  }

  async unloadAdapter(slot: number): Promise<void> {
    this.held.delete(slot)
  }

  restart(reason: string): void {
    if (this.#status.state === 'ready') this.crash(reason)
  }

  /** Its process ends; it is started again, as a supervisor would. */
  crash(reason = 'killed by SIGKILL'): void {
    if (this.#status.pid === null) return
    this.#lose(workerError('WORKER_ENGINE_DIED', { details: { reason, retryAfterSeconds: 1 } }))
    this.#set({ state: 'restarting', pid: null, reason, numRestarts: this.#status.numRestarts + 1 })
    const epoch = this.#epoch
    this.#machine.timer.after(100, () => {
      if (this.#epoch === epoch) this.#launch('restarting')
    })
  }

  /** It answers nothing any more, though its process lives; a watchdog ends it when somebody waits. */
  deafen(): void {
    this.#isDeaf = true
    const epoch = this.#epoch
    this.#machine.timer.after(20_000, () => {
      if (this.#isDeaf && this.#epoch === epoch && this.#inside.size > 0) this.crash('it is stuck')
    })
  }

  /** It will not live. */
  giveUp(error: Error = new ServingError('MODEL_BROKEN', BROKEN)): void {
    if (this.#status.state === 'stopped' || this.#status.state === 'failed') return
    this.#lose(
      workerError('WORKER_ENGINE_DIED', { details: { reason: 'x', retryAfterSeconds: 1 } }),
    )
    this.#set({ state: 'failed', pid: null, reason: error.message })
    this.#settle?.reject(error)
  }

  stop(): Promise<void> {
    const wasAlive = this.isAlive
    if (this.#status.state === 'ready') {
      const asked = [...this.#inside.keys()].filter((id) => !this.#probes.has(id))
      this.#machine.numCutOff += asked.length
    }
    this.#epoch += 1
    if (this.#status.state !== 'stopped') {
      this.#set({ state: 'stopped', reason: 'the engine is stopped' })
    }
    this.#settle?.reject(workerError('WORKER_STOPPED'))
    return new Promise((resolve) => {
      const end = (): void => {
        this.#status = { ...this.#status, pid: null }
        this.#lose(workerError('WORKER_STOPPED'))
        resolve()
      }
      if (wasAlive) this.#machine.timer.after(5, end)
      else end()
    })
  }

  #launch(state: 'starting' | 'restarting'): void {
    this.#epoch += 1
    this.#isDeaf = false
    const epoch = this.#epoch
    this.#set({ state, pid: this.#machine.nextPid(), reason: 'the engine is loading' })
    this.#machine.timer.after(this.#model.loadMs ?? 1000, () => {
      if (this.#epoch !== epoch || !this.isAlive) return
      this.#set({ state: 'ready', reason: null })
      this.#settle?.resolve(DESCRIPTION)
    })
  }

  #compute(spec: SequenceSpec, numTokens: number, epoch: number): void {
    this.#machine.timer.after(this.#model.tokenMs ?? 10, () => {
      const listener = this.#inside.get(spec.id)
      if (listener === undefined || epoch !== this.#epoch || this.#isDeaf) return
      const isLast = numTokens + 1 >= spec.params.maxTokens
      if (isLast) this.#inside.delete(spec.id)
      listener.onUpdate({
        ...QUIET,
        id: spec.id,
        tokenIds: [65],
        finish: isLast ? 'length' : null,
      })
      if (!isLast) this.#compute(spec, numTokens + 1, epoch)
    })
  }

  #lose(error: ServingError): void {
    this.#epoch += 1
    const lost = [...this.#inside]
    this.#inside.clear()
    for (const [id, listener] of lost) listener.onLost(id, error)
  }

  #set(change: Partial<ReplicaStatus>): void {
    this.#status = { ...this.#status, ...change }
    this.request.onStateChange(this.#status)
  }
}

export class FakeMachine {
  readonly timer: ManualTimer = new ManualTimer()
  readonly models: Map<string, FakeModel> = new Map()
  readonly replicas: FakeReplica[] = []
  readonly plans: string[] = []
  /** Thrown by the next plans of these sources. */
  readonly planFaults: Map<string, Error> = new Map()
  planMs = 0
  /** Whether weights are there without fetching them. */
  isStored = true
  /** Sequences that were inside a sound engine when it was told to stop. */
  numCutOff = 0
  #numPids = 100

  nextPid(): number {
    this.#numPids += 1
    return this.#numPids
  }

  get numAlive(): number {
    return this.replicas.filter(({ isAlive }) => isAlive).length
  }

  /** Bytes of all live processes, by their plans. */
  get usedBytes(): number {
    return this.replicas
      .filter(({ isAlive }) => isAlive)
      .reduce((sum, { request: { engine } }) => {
        const model = this.models.get(engine.checkpointPath)
        return sum + (model?.weightsBytes ?? 0) + engine.kvMemoryBytes + PROCESS_BYTES
      }, 0)
  }

  alive(model: string): FakeReplica[] {
    return this.replicas.filter(({ isAlive, request: { modelId } }) => isAlive && modelId === model)
  }

  pool(
    endpoints: readonly EndpointSpec[],
    change: Partial<EndpointCatalog> & { options?: Partial<PoolOptions> } = {},
  ): EndpointPool {
    const { options, ...catalog } = change
    return new EndpointPool({
      catalog: {
        memoryBudgetBytes: 1000,
        maxConcurrentLoads: 2,
        endpoints,
        aliases: [],
        ...catalog,
      },
      tools: this.#tools(),
      budgetOf: (bytes) => ({ bytes: bytes ?? 1000, reason: 'as configured' }),
      isSingle: false,
      ...options,
    })
  }

  /** Move time in small steps, letting promises run in between. */
  async advance(milliseconds: number, stepMs = 50): Promise<void> {
    await settle()
    for (let left = milliseconds; left > 0; left -= stepMs) {
      this.timer.advance(Math.min(stepMs, left))
      await settle()
    }
  }

  #tools(): PoolTools {
    const ids = new SequenceIds()
    const plan = (endpoint: EndpointSpec, variant: VariantSpec): PreparedVariant =>
      this.#plan(endpoint, variant)
    return {
      clock: this.timer,
      timer: this.timer,
      probe: { everyMs: 10_000, timeoutMs: 5_000 },
      adapters: new Adapters({ maxLoras: 3, maxRank: 16 }, this.timer),
      version: '9.9.9',
      chance: () => 1,
      nextSequenceId: () => ids.next(),
      createReplica: (asked) => {
        const model = this.models.get(asked.engine.checkpointPath)
        if (model === undefined) throw new Error('no such model')
        const replica = new FakeReplica(this, asked, model)
        this.replicas.push(replica)
        return replica
      },
      plan: async (endpoint, variant) => {
        this.plans.push(variant.source)
        if (this.planMs > 0) {
          await new Promise<void>((resolve) => this.timer.after(this.planMs, resolve))
        }
        return plan(endpoint, variant)
      },
      planStored: async (endpoint, variant) => (this.isStored ? plan(endpoint, variant) : null),
    }
  }

  #plan(endpoint: EndpointSpec, variant: VariantSpec): PreparedVariant {
    const fault = this.planFaults.get(variant.source)
    if (fault !== undefined) throw fault
    const model = this.models.get(variant.source)
    if (model === undefined) throw new ServingError('STORE_UNKNOWN_MODEL', BROKEN)
    const { weightsBytes, kvBytes, minKvBytes = kvBytes } = model
    return {
      card: cardOf(endpoint, variant),
      size: { weightsBytes, kvBytes, minKvBytes, processBytes: PROCESS_BYTES },
      kvBytesPerToken: 1,
      quantization: 'int4',
      maxNumSeqs: endpoint.maxNumSeqs ?? 8,
      maxQueuedSequences: endpoint.maxQueuedSequences ?? 8,
      engine: (kvMemoryBytes) => ({
        ...ENGINE_OPTIONS,
        checkpointPath: variant.source,
        kvMemoryBytes,
      }),
      beginTextTools: () => {},
      textTools: () => TEXT,
    }
  }
}

const TEXT = {
  tokenizer: new ByteTokenizer(),
  template: new ChatTemplate({
    chatTemplates: new Map([['default', '{{ messages[0].content }}>']]),
    specialTokens: {},
  }),
}

const BROKEN = { status: 422, retryable: false, message: 'its files are broken' }

const DESCRIPTION: EngineDescription = {
  modelType: 'fake',
  vocabSize: 257,
  maxContextTokens: 64,
  numBlocks: 8,
  blockSize: 16,
  kvBytesPerToken: 1,
  weightsBytes: 1,
  weightsHeldAs: 'memory',
  kernels: 'paper',
  ortVersion: '1',
  blocksThread: false,
  adapters: [],
  loadMs: 1000,
}

const QUIET = {
  tokenIds: [],
  logprobs: null,
  promptLogprobs: null,
  finish: null,
  stopTokenId: null,
  error: null,
  timing: null,
} as const

function cardOf({ name }: EndpointSpec, variant: VariantSpec): ModelCard {
  return {
    id: name,
    aliases: [],
    created: 0,
    ownedBy: 'test',
    digest: variant.digest ?? `sha256:${variant.source}`,
    quantization: 'Q4_1',
    servingConfigDigest: 'sha256:abcdef0123',
    maxContextTokens: 1024,
    vocabSize: 257,
    hasChatTemplate: true,
  }
}
