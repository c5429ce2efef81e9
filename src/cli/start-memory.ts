/**
 * Keeps the heap small while a server starts: plans, vocabularies and parsed modules are garbage soon, and a heap that
 * grew for them keeps its pages. Owns two flags of V8, which its collector reads each time it runs.
 *
 * Resident after the first answer of the default model, Node 20: 168 MB without, 131 MB with these two, which cost 40 ms of
 * collecting; `--optimize-for-size` besides is 3 MB less for 100 ms. Not for serving: streams then cost the API's process 60 %
 * more time, for objects that live as long as a request (2026-11-28).
 */

import { setFlagsFromString } from 'node:v8'

/** @returns gives the heap back its usual room to grow */
export function collectEarly(): () => void {
  // Collect when the old generation has grown by so much since the last time; 0 = V8 decides.
  setFlagsFromString('--heap-growing-percent=30')
  // The young generation stays at the size that it begins with; usually it doubles.
  setFlagsFromString('--semi-space-growth-factor=1')
  return () => {
    setFlagsFromString('--heap-growing-percent=0')
    setFlagsFromString('--semi-space-growth-factor=2')
  }
}
