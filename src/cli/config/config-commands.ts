/** The commands of `ingot config`, their flags, help and examples. What they do is loaded when one is called. */

import type { Command } from 'commander'

/** @returns the group; its own commands are in `commands` */
export function addConfig(program: Command): Command {
  const group = program
    .command('config')
    .description('check a configuration file, or show what it decides')
    .addHelpText('after', GROUP_HELP)
  group
    .command('check')
    .argument('[file]', 'YAML or JSON file (default: the one that INGOT_CONFIG names)')
    .description('say everything that is wrong with a configuration file, or what it declares')
    .option('--json', 'print JSON')
    .addHelpText('after', CHECK_HELP)
    .action(async (file, options) =>
      (await import('./config-actions.ts')).checkConfig(file, options),
    )
  group
    .command('show')
    .argument('[file]', 'YAML or JSON file (default: the one that INGOT_CONFIG names, or none)')
    .description('print every setting with its value and reason, and every endpoint and alias')
    .option('--json', 'print JSON')
    .addHelpText('after', SHOW_HELP)
    .action(async (file, options) =>
      (await import('./config-actions.ts')).showConfig(file, options),
    )
  return group
}

const GROUP_HELP = `
Examples:
  $ ingot config check ingot.yaml
  $ ingot config show ingot.yaml
  $ ingot serve --config ingot.yaml

Keys: docs/configuration.md (settings) and docs/endpoints.md (pool, endpoints, aliases); examples/ingot.yaml has them all.`

const CHECK_HELP = `
Example:
  $ ingot config check ingot.yaml && kill -HUP "$(pidof ingot)"

Each problem is one line with file, line and column. Nothing is fetched or loaded. INGOT_* variables are checked too.
Exit codes: 0 all is well, 2 something is wrong.`

const SHOW_HELP = `
Example:
  $ ingot config show ingot.yaml --json`
