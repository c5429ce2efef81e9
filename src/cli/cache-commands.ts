/** The flags and help of `ingot cache`; `kv-cache.ts` does the work and is loaded when it is called. */

import type { Command } from 'commander'
import { addConfigFlags, COMMON_KEYS } from './config-flags.ts'

export function addCache(program: Command): Command {
  const cache = program
    .command('cache')
    .description('look at and delete keys and values of prompts that --kv-disk-cache keeps')
  addConfigFlags(cache.command('ls'), [...COMMON_KEYS, 'store.kvDiskCache'])
    .description('print how much is kept')
    .option('--json', 'print JSON')
    .action(async (options) => (await import('./kv-cache.ts')).listKvCache(options))
  addConfigFlags(cache.command('rm'), COMMON_KEYS)
    .description('delete what one caller has, or everything; servers may go on running')
    .option('--principal <name>', 'whose: a principal as the audit log has it (local = no key)')
    .option('--all', 'everything, of all callers and models')
    .addHelpText('after', RM_HELP)
    .action(async (options) => (await import('./kv-cache.ts')).removeKvCache(options))
  return cache
}

const RM_HELP = `
Examples:
  $ ingot cache rm --principal local
  $ ingot cache rm --principal key:0123456789abcdef0123456789abcdef --home /srv/ingot
  $ ingot cache rm --all`
