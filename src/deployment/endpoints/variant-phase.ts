/**
 * The life of one variant of an endpoint, as a table that every change is checked against.
 *
 *            plan made            asked for            first token of a replica
 *   new ─▶ preparing ─▶ cold ───────────▶ loading ────────────────────────────▶ ready
 *              │          ▲                │  ▲ │                                │  │
 *              │ fails    │  nobody waits  │  │ └──── all replicas restart ◀──────┘  │ idle, room for others,
 *              ▼          ├────────────────┘  │                                      │ unload, stop, new revision
 *           failed ◀──────┼── will not live ──┤ back-off over and asked for          ▼
 *              └──────────┴───────────────────┴──────── processes ended ───────── draining ─▶ ready (called back)
 *
 *   any ─▶ closed: its last process has ended and nothing starts it again
 *
 * new, preparing, cold: no process, nothing reserved; a variant whose weights were there when it was declared begins cold. loading: waits for memory, or its replicas start. ready: at least
 * one replica answers. draining: takes nothing new, ends with its last request. failed: gave its memory back, refuses
 * until its back-off is over.
 */

import { invariant } from '../../base/errors.ts'

export type VariantPhase =
  | 'new'
  | 'preparing'
  | 'cold'
  | 'loading'
  | 'ready'
  | 'draining'
  | 'failed'
  | 'closed'

export const NEXT_PHASES: Readonly<Record<VariantPhase, readonly VariantPhase[]>> = {
  new: ['preparing', 'closed'],
  preparing: ['cold', 'failed', 'closed'],
  cold: ['loading', 'failed', 'closed'],
  loading: ['ready', 'cold', 'draining', 'failed', 'closed'],
  ready: ['draining', 'loading', 'failed', 'closed'],
  draining: ['cold', 'ready', 'closed'],
  failed: ['preparing', 'loading', 'cold', 'closed'],
  closed: [],
}

/** @throws InvariantError P7 */
export function assertNext(from: VariantPhase, to: VariantPhase): void {
  invariant(NEXT_PHASES[from].includes(to), 'P7', `a variant went from ${from} to ${to}`)
}
