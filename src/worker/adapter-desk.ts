/**
 * Loads and unloads adapters in the engine process as it is told, one after the other, while steps go on. Knows messages;
 * owns the order of what was asked.
 *
 * D1 every request gets one answer. D2 an adapter that a sequence inside needs is not unloaded.
 */

import { ServingError, type WireError } from '../base/errors.ts'
import type { AdapterSlots } from '../execution/executor-facts.ts'
import { workerError } from './errors.ts'
import type { AdapterOutcome, AdapterSpec, FromEngine, ToEngine } from './messages.ts'

export type AdapterMessage = Extract<ToEngine, { type: 'load-adapter' | 'unload-adapter' }>

export interface AdapterDeskPorts {
  /** `null` = the model takes none. */
  readonly slots: AdapterSlots | null
  usesAdapter(slot: number): boolean
  send(message: FromEngine): Promise<void>
}

export class AdapterDesk {
  readonly #ports: AdapterDeskPorts
  #last: Promise<void> = Promise.resolve()

  constructor(ports: AdapterDeskPorts) {
    this.#ports = ports
  }

  accept(message: AdapterMessage): void {
    this.#last = this.#last.then(async () => {
      const outcome =
        message.type === 'load-adapter'
          ? await loadAdapter(this.#ports.slots, message.adapter)
          : this.#unload(message.slot)
      await this.#ports.send({ type: 'adapter', ...outcome })
    })
  }

  #unload(slot: number): AdapterOutcome {
    const { slots, usesAdapter } = this.#ports
    if (usesAdapter(slot)) {
      return { slot, error: workerError('WORKER_ADAPTER_IN_USE', { details: { slot } }).toWire() }
    }
    slots?.unload(slot)
    return { slot, error: null }
  }
}

/** Never rejects: what is wrong with an adapter's files is an outcome. */
export async function loadAdapter(
  slots: AdapterSlots | null,
  adapter: AdapterSpec,
): Promise<AdapterOutcome> {
  const { slot, folder } = adapter
  try {
    if (slots === null) throw workerError('WORKER_ADAPTERS_UNSUPPORTED', { details: { folder } })
    await slots.load(adapter)
    return { slot, error: null }
  } catch (error) {
    return { slot, error: toWire(error) }
  }
}

function toWire(error: unknown): WireError {
  if (error instanceof ServingError) return error.toWire()
  const reason = error instanceof Error ? error.message : String(error)
  return workerError('WORKER_INTERNAL', { details: { reason } }).toWire()
}
