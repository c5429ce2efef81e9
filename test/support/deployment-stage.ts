/**
 * A deployment on a scripted replica, a byte tokenizer and a manual clock, with a reader for its requests. Context 20
 * tokens; two sequences run and one may wait.
 */

import type { RequestId } from '../../src/base/ids.ts'
import type { GenerationEvent, GenerationRequest } from '../../src/deployment/generation.ts'
import {
  ModelDeployment,
  type ModelDeploymentOptions,
} from '../../src/deployment/model-deployment.ts'
import { SequenceIds } from '../../src/deployment/sequence-ids.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../src/sampling/sampling-params.ts'
import { ChatTemplate } from '../../src/text/chat-template.ts'
import { ByteTokenizer } from './byte-tokenizer.ts'
import { ManualClock } from './manual-clock.ts'
import { ScriptedReplica } from './scripted-replica.ts'

export const FINGERPRINT = 'ingot-9.9.9-abcdef01'

export interface Reading {
  readonly events: GenerationEvent[]
  /** Settles when the iterable ends; the error it threw, if any. */
  readonly ended: Promise<unknown>
  readonly controller: AbortController
}

export class DeploymentStage {
  readonly clock: ManualClock = new ManualClock()
  readonly replica: ScriptedReplica = new ScriptedReplica()
  readonly deployment: ModelDeployment

  constructor(change: Partial<ModelDeploymentOptions> = {}) {
    const ids = new SequenceIds()
    this.deployment = new ModelDeployment({
      card: {
        id: 'tiny',
        aliases: ['small'],
        created: 0,
        ownedBy: 'test',
        digest: 'sha256:00',
        quantization: 'F32',
        servingConfigDigest: 'sha256:abcdef0123',
        maxContextTokens: 20,
        vocabSize: 257,
        hasChatTemplate: true,
      },
      version: '9.9.9',
      tokenizer: new ByteTokenizer(),
      template: new ChatTemplate({
        chatTemplates: new Map([['default', '{{ messages[0].content }}>']]),
        specialTokens: {},
      }),
      replicas: this.replica,
      maxNumSeqs: 2,
      maxQueuedSequences: 1,
      clock: this.clock,
      nextSequenceId: () => ids.next(),
      ...change,
    })
  }

  /** Starts a request and waits until it was handed to the replica, or refused. */
  async read(change: Partial<GenerationRequest> = {}): Promise<Reading> {
    const controller = new AbortController()
    const events: GenerationEvent[] = []
    const iterable = this.deployment.generate(request(change), controller.signal)
    const ended = (async () => {
      try {
        for await (const event of iterable) events.push(event)
      } catch (error) {
        return error
      }
      return undefined
    })()
    await settle()
    return { events, ended, controller }
  }
}

export function request(change: Partial<GenerationRequest> = {}): GenerationRequest {
  return {
    id: 'req-1' as RequestId,
    requestedModel: 'tiny',
    principal: 'local',
    input: { kind: 'text', text: 'hi' },
    sampling: { ...DEFAULT_SAMPLING_PARAMS },
    seed: 5n,
    maxTokens: 8,
    numChoices: 1,
    stop: [],
    cacheSalt: null,
    cacheKey: null,
    serviceTier: 'default',
    maxQueueMs: null,
    routing: null,
    coldStartWaitMs: null,
    ...change,
  }
}

/** Lets everything run that waits for nothing but its turn. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The joined text of one choice. */
export function textOf(events: readonly GenerationEvent[], choice = 0): string {
  return events
    .map((event) => (event.type === 'delta' && event.choice === choice ? event.text : ''))
    .join('')
}
