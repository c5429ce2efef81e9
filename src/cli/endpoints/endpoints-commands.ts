/**
 * The commands of `ingot endpoints`, their flags, help and examples. What they do is in `endpoints-actions.ts`, loaded
 * when one is called.
 */

import type { Command } from 'commander'

type Actions = typeof import('./endpoints-actions.ts')

const actions = (): Promise<Actions> => import('./endpoints-actions.ts')

/** Adds a command with what all of them have. */
type Add = (usage: string, description: string, example: string) => Command

/** @returns the group; its own commands are in `commands` */
export function addEndpoints(program: Command): Command {
  const group = program
    .command('endpoints')
    .description('see and change what a running server serves')
    .addHelpText('after', GROUP_HELP)
  const add: Add = (usage, description, example) =>
    group
      .command(usage)
      .description(description)
      .option('--url <address>', 'server (default http://127.0.0.1:8000, or as INGOT_PORT says)')
      .option('--json', 'print JSON')
      .addHelpText('after', `\nExample:\n  $ ingot endpoints ${example}`)
  addLifeCommands(add)
  addCatalogCommands(add)
  return group
}

/** An endpoint's life. */
function addLifeCommands(add: Add): void {
  add('list', 'a table of all endpoints, with memory and load times', 'list --watch')
    .option('--watch [seconds]', 'print it again and again, until Ctrl-C')
    .action(async (options) => (await actions()).list(options))
  addEndpointFlags(
    add(
      'create <model>',
      'declare an endpoint, and start it',
      'create smollm2-135m-instruct --name chat --weights int8,int4 --min 0 --inactive-timeout 10',
    ),
  )
    .option('--name <name>', 'name in requests (default: the model’s, with random digits)')
    .option('--type <type>', 'dedicated or serverless (default dedicated)')
    .option('--hardware <id>', 'cores of a replica, one of: ingot endpoints hardware')
    .option('--no-speculation', 'guess no tokens')
    .option('--stopped', 'declare it only')
    .option('--wait', 'return when it has started')
    .action(async (model, options) => (await actions()).create(model, options))
  add('get <endpoint>', 'one endpoint, by its name or id', 'get chat').action(
    async (name, options) => (await actions()).get(name, options),
  )
  addEndpointFlags(
    add('update <endpoint>', 'change what is given and nothing else', 'update chat --weights int8'),
  )
    .option('--model <model>', 'other weights, rolled out without losing a request')
    .option('--no-pin', 'may be unloaded to make room')
    .action(async (name, options) => (await actions()).update(name, options))
  add('scale <endpoint>', 'set how many replicas it may have', 'scale chat --min 0 --max 2')
    .option('--min <number>', 'replicas without load; 0 lets it scale to zero')
    .option('--max <number>', 'replicas under load')
    .action(async (name, options) => (await actions()).scale(name, options))
  add('start <endpoint>', 'let it answer requests again', 'start chat --wait')
    .option('--wait', 'return when it has started')
    .action(async (name, options) => (await actions()).start(name, options))
  add('stop <endpoint>', 'let open requests end, then refuse further ones', 'stop chat')
    .option('--wait', 'return when it has stopped')
    .action(async (name, options) => (await actions()).stop(name, options))
  add('delete <endpoint>', 'let open requests end, then forget it', 'delete chat').action(
    async (name, options) => (await actions()).remove(name, options),
  )
  add('load <endpoint>', 'load its model now, and return when it is ready', 'load chat')
    .option('--variant <name>', 'which variant (default: as memory and policy say)')
    .action(async (name, options) => (await actions()).load(name, options))
  add('unload <endpoint>', 'give up its memory until the next request', 'unload chat').action(
    async (name, options) => (await actions()).unload(name, options),
  )
}

/** What can be served, under which names, and who changed it. */
function addCatalogCommands(add: Add): void {
  add(
    'profiles <model>',
    'ways to serve an endpoint or model, and the memory of each, before any load',
    'profiles smollm2-135m-instruct',
  ).action(async (model, options) => (await actions()).profiles(model, options))
  add(
    'hardware [model]',
    'what a replica may have; whether it fits, for a model',
    'hardware',
  ).action(async (model, options) => (await actions()).hardware(model, options))
  add(
    'history [name]',
    'every change of endpoints and aliases, with who and when',
    'history chat',
  ).action(async (name, options) => (await actions()).history(name, options))
  add('aliases', 'names that stand for endpoints', 'aliases').action(async (options) =>
    (await actions()).aliases(options),
  )
  add(
    'alias <name> <endpoints...>',
    'let a name stand for endpoints, the first one preferred',
    'alias gpt-4o-mini chat chat-small --quantizations int8,int4',
  )
    .option('--no-fallbacks', 'only the first one may serve')
    .option('--quantizations <list>', 'only variants in these formats')
    .option('--pinned', 'only variants with a digest')
    .action(async (name, targets, options) => (await actions()).alias(name, targets, options))
  add('unalias <name>', 'remove an alias', 'unalias gpt-4o-mini').action(async (name, options) =>
    (await actions()).unalias(name, options),
  )
  add('reload', 'read the server’s configuration file again, all or nothing', 'reload').action(
    async (options) => (await actions()).reload(options),
  )
}

/** What both a new endpoint and a changed one may be given. */
function addEndpointFlags(command: Command): Command {
  return command
    .option('--weights <list>', 'formats it may serve in, best first, such as int8,int4')
    .option('--min <number>', 'replicas without load; 0 lets it scale to zero')
    .option('--max <number>', 'replicas under load')
    .option('--display-name <text>', 'name for people')
    .option('--inactive-timeout <minutes>', 'gives up its memory after so long; 0 = never')
    .option('--digest <sha256>', 'the only weights that may serve, sha256:…')
    .option('--kv-memory <size>', 'memory for keys and values of each replica')
    .option('--max-context <tokens>', 'longest prompt and answer together')
    .option('--max-sequences <number>', 'sequences that run at once in a replica')
    .option('--max-queue <number>', 'sequences that may wait')
    .option('--cold-start-wait <seconds>', 'how long requests wait while it loads; 0 = refused')
    .option('--pin', 'serverless: never unloaded to make room')
}

const GROUP_HELP = `
Examples:
  $ ingot endpoints list --watch
  $ ingot endpoints create smollm2-135m-instruct --name chat --wait
  $ ingot endpoints profiles smollm2-135m-instruct
  $ INGOT_ADMIN_TOKEN=… ingot endpoints list --url https://models.example.org

Without an admin token only programs on the server's own machine may do this; see docs/endpoints.md.`
