/**
 * Every metric's name, help text and labels: the one place where they are written.
 *
 * Two families. `vllm:*` are vLLM's names with vLLM's meaning and units, because Kubernetes routers and dashboards read
 * them (vLLM docs, "Production metrics"). `ingot_*` say what vLLM has no name for. A name never changes its meaning; a
 * retired one is not used again. Knows no values and no registry.
 */

/** Labels of everything that belongs to one engine; `engine` is the replica's index as text, as in vLLM. */
export const ENGINE_LABELS = ['model_name', 'engine'] as const
/** Labels of what belongs to a model as its clients see it. */
export const MODEL_LABELS = ['model_name'] as const

export const METRIC_NAMES = {
  numRequestsRunning: {
    name: 'vllm:num_requests_running',
    help: 'Sequences in the running batch.',
  },
  numRequestsWaiting: {
    name: 'vllm:num_requests_waiting',
    help: 'Sequences waiting to be scheduled.',
  },
  kvCacheUsage: { name: 'vllm:kv_cache_usage_perc', help: 'Share of KV blocks in use, 0 to 1.' },
  numPreemptions: {
    name: 'vllm:num_preemptions_total',
    help: 'Sequences preempted because KV blocks ran out.',
  },
  iterationTokens: {
    name: 'vllm:iteration_tokens_total',
    help: 'Tokens computed in one engine step.',
  },
  prefixCacheQueries: {
    name: 'vllm:prefix_cache_queries_total',
    help: 'Prompt tokens looked up in the cache.',
  },
  prefixCacheHits: {
    name: 'vllm:prefix_cache_hits_total',
    help: 'Prompt tokens whose KV was found cached.',
  },
  draftTokens: {
    name: 'vllm:spec_decode_num_draft_tokens_total',
    help: 'Tokens that were guessed and computed.',
  },
  acceptedDraftTokens: {
    name: 'vllm:spec_decode_num_accepted_tokens_total',
    help: 'Guessed tokens that were right.',
  },
  kvCopiedTails: {
    name: 'ingot_kv_copied_tails_total',
    help: 'Choices that began with a copy of the last block of their prompt.',
  },
  kvSwappedOutBlocks: {
    name: 'ingot_kv_swapped_out_blocks_total',
    help: 'KV blocks of preempted sequences copied to the swap space.',
  },
  kvSwappedInBlocks: {
    name: 'ingot_kv_swapped_in_blocks_total',
    help: 'KV blocks copied back from the swap space.',
  },
  kvRestoredTokens: {
    name: 'ingot_kv_restored_tokens_total',
    help: 'Prompt tokens whose KV came from the disk cache.',
  },
  kvDiskSavedBlocks: {
    name: 'ingot_kv_disk_saved_blocks_total',
    help: 'KV blocks written to the disk cache.',
  },
  kvDiskDroppedBlocks: {
    name: 'ingot_kv_disk_dropped_blocks_total',
    help: 'KV blocks not written: too many waited, the disk was full, or it failed.',
  },
  kvDiskLoadedBlocks: {
    name: 'ingot_kv_disk_loaded_blocks_total',
    help: 'KV blocks read from the disk cache.',
  },
  kvDiskBadFiles: {
    name: 'ingot_kv_disk_bad_files_total',
    help: 'Files of the disk cache that were torn or changed, and removed.',
  },
  kvDiskBytes: {
    name: 'ingot_kv_disk_bytes',
    help: 'Bytes of the disk cache as this engine knows it.',
  },
  kvDiskPaused: {
    name: 'ingot_kv_disk_paused',
    help: '1 while nothing is written to the disk cache because writing failed.',
  },
  promptTokens: { name: 'vllm:prompt_tokens_total', help: 'Prompt tokens of admitted requests.' },
  generationTokens: { name: 'vllm:generation_tokens_total', help: 'Tokens generated.' },
  requestSuccess: {
    name: 'vllm:request_success_total',
    help: 'Choices that ended, by reason: stop, length, abort, error.',
  },
  timeToFirstToken: {
    name: 'vllm:time_to_first_token_seconds',
    help: 'From request to its first token.',
  },
  interTokenLatency: {
    name: 'vllm:inter_token_latency_seconds',
    help: 'Between two tokens of one choice.',
  },
  endToEndLatency: {
    name: 'vllm:e2e_request_latency_seconds',
    help: 'From request to its last token.',
  },
  queueTime: { name: 'vllm:request_queue_time_seconds', help: 'Waiting to be scheduled.' },
  prefillTime: { name: 'vllm:request_prefill_time_seconds', help: 'Computing the prompt.' },
  decodeTime: {
    name: 'vllm:request_decode_time_seconds',
    help: 'From the first token to the last.',
  },
  requestPromptTokens: {
    name: 'vllm:request_prompt_tokens',
    help: 'Prompt tokens of one request.',
  },
  requestGenerationTokens: {
    name: 'vllm:request_generation_tokens',
    help: 'Tokens generated for one request.',
  },
  buildInfo: { name: 'ingot_build_info', help: 'Always 1; the label carries the version.' },
  httpRequests: { name: 'ingot_http_requests_total', help: 'HTTP responses by route and status.' },
  requestsRefused: {
    name: 'ingot_requests_refused_total',
    help: 'Generation requests refused, by error code.',
  },
  openStreams: {
    name: 'ingot_generation_requests_open',
    help: 'Generation requests being answered.',
  },
  eventLoopDelayP99: {
    name: 'ingot_event_loop_delay_p99_seconds',
    help: 'Event-loop delay of the API process, 99th percentile since the last scrape.',
  },
  residentMemory: {
    name: 'ingot_resident_memory_bytes',
    help: 'Resident memory of the API process.',
  },
  engineResidentMemory: {
    name: 'ingot_engine_resident_memory_bytes',
    help: 'Resident memory of an engine.',
  },
  engineSteps: { name: 'ingot_engine_steps_total', help: 'Steps that an engine ran.' },
  replicaRestarts: {
    name: 'ingot_replica_restarts_total',
    help: 'Engine processes started again after a fault.',
  },
  auditRecords: { name: 'ingot_audit_records_total', help: 'Audit records written to the log.' },
  auditFailures: {
    name: 'ingot_audit_write_failures_total',
    help: 'Failed attempts to write audit records.',
  },
  auditPending: { name: 'ingot_audit_records_pending', help: 'Audit records not yet written.' },
} as const
