/** Gives out sequence ids: one source a process, so that a late message can never mean another sequence. */

import type { SequenceId } from '../base/ids.ts'

export class SequenceIds {
  #last = 0

  next(): SequenceId {
    this.#last += 1
    return this.#last as SequenceId
  }
}
