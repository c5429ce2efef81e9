/** Branded ids: a block id is not a sequence id although both are small integers. Nothing here knows what they name. */

declare const brand: unique symbol
export type Branded<T, B extends string> = T & { readonly [brand]: B }

/** Index of a KV block in the pool, 0 ≤ id < numBlocks. */
export type BlockId = Branded<number, 'BlockId'>
/** One token stream in an engine; unique over the life of the API process, so a late message can never hit another. */
export type SequenceId = Branded<number, 'SequenceId'>
/** What a client sees as `id` and what logs, metrics and the audit record share. */
export type RequestId = Branded<string, 'RequestId'>
