/**
 * Which replica gets a request. Pure: loads and a key in, an index out.
 *
 * Rendezvous hashing ranks the replicas for each key, so that equal keys meet where their prefix is cached, and a replica
 * that comes or goes moves only its own keys. The first in rank that is not overfull takes the request; overfull is above
 * `BALANCE` times the mean load with it, so that one busy key spreads instead of queueing.
 * Source: Thaler and Ravishankar 1998; Mirrokni, Thorup and Zadimoghaddam 2016, "Consistent hashing with bounded loads".
 */

export interface ReplicaLoad {
  readonly index: number
  /** That run or wait in it. */
  readonly numSequences: number
}

const BALANCE = 1.25

/**
 * @param replicas - those that are ready, at least one
 * @param numNew - sequences of the request
 * @param affinity - the request's routing key; asked only where there is a choice
 */
export function chooseReplica<T extends ReplicaLoad>(
  replicas: readonly T[],
  numNew: number,
  affinity: () => string,
): T {
  const [only] = replicas as readonly [T, ...T[]]
  if (replicas.length === 1) return only
  const key = affinity()
  const ranked = replicas
    .map((replica) => ({ replica, rank: hash(`${replica.index}\u0000${key}`) }))
    .sort((a, b) => b.rank - a.rank || a.replica.index - b.replica.index)
    .map(({ replica }) => replica)
  const total = replicas.reduce((sum, { numSequences }) => sum + numSequences, numNew)
  const limit = Math.max(numNew, Math.ceil((BALANCE * total) / replicas.length))
  const fitting = ranked.find(({ numSequences }) => numSequences + numNew <= limit)
  return fitting ?? ranked.reduce((a, b) => (b.numSequences < a.numSequences ? b : a))
}

/** FNV-1a over UTF-16 units, its bits mixed by murmur3's finalizer; 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
