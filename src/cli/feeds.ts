import { parseArgs } from 'node:util';
import type { Config } from '../config/config.js';
import { listConfigured, lookUp, pullConfigured } from '../app/feeds-command.js';
import { columns, listFeeds, pullLines } from './feeds-text.js';
import { readIndicator } from '../intel/canonical.js';
import { command, installedConfig, UsageError, type Io } from './command.js';

const HELP = `breakwater feeds pull|list|lookup [--config F] [--json]: threat feeds

  pull [NAME…]        fetch feeds now (default: all) and build the index; a running guard takes it over
    --force               also those that were asked less than "minInterval" ago
    --accept-shrink NAME  of this feed, take also an empty version, or one of less than half the size; may be
                          given several times
  list                how the feeds are doing
  lookup INDICATOR    is it listed: an address, prefix, domain, URL or hash, defanged (hxxp, [.]) or not

  --config F   config file (JSON); default: /etc/breakwater/breakwater.json
  --json       for programs

Exit codes: 0 fine; 1 a feed failed, nothing is listed, or there is no index; 2 wrong usage or a bad config file.
`;

interface Request {
  readonly config: Config;
  readonly words: readonly string[];
  readonly json: boolean;
  readonly force: boolean;
  readonly acceptShrink: readonly string[];
}

type Action = (request: Request, io: Io) => Promise<number>;
const ACTIONS: Readonly<Record<string, Action>> = { pull, list, lookup };

/** `breakwater feeds …` */
export const runFeeds = command('feeds', HELP, async (args, io) => {
  const { values, positionals } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      json: { type: 'boolean' },
      force: { type: 'boolean' },
      'accept-shrink': { type: 'string', multiple: true },
    },
    allowPositionals: true,
  });
  const [name, ...words] = positionals;
  if (name === undefined) throw new UsageError('say what to do: pull, list or lookup');
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action === undefined) throw new UsageError(`there is no "${name}": pull, list or lookup`);
  const acceptShrink = values['accept-shrink'] ?? [];
  if (name !== 'pull' && (values.force === true || acceptShrink.length > 0)) {
    throw new UsageError('--force and --accept-shrink go with pull');
  }
  if (name === 'lookup' && words.length !== 1) throw new UsageError('lookup takes one indicator');
  if (name === 'list' && words.length > 0) throw new UsageError(`"${words[0]}" is too much`);
  const { path, config } = installedConfig(values.config);
  const known = config.feeds.sources.map((source) => source.name);
  if (known.length === 0) throw new UsageError(`${path} has no feeds; see "feeds", "sources"`);
  const requested = name === 'pull' ? [...words, ...acceptShrink] : [];
  const unknown = requested.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`there is no feed "${unknown}"; there are ${known.join(', ')}`);
  return action(
    { config, words, json: values.json === true, force: values.force === true, acceptShrink },
    io,
  );
});

/** A progress line that is overwritten; only on a terminal. */
function progress(io: Io): { add(feed: string, bytes: number): void; clear(): void } {
  const { isTTY: terminal = false } = io.stderr as Partial<NodeJS.WriteStream>;
  let shown = '';
  let total = 0;
  return {
    add(feed, bytes) {
      if (!terminal) return;
      total = shown === feed ? total + bytes : bytes;
      shown = feed;
      io.stderr.write(`\r\u001b[K${feed}: ${(total / 1e6).toFixed(1)} MB`);
    },
    clear() {
      if (terminal && shown !== '') io.stderr.write('\r\u001b[K');
      shown = '';
    },
  };
}

async function pull({ config, words, json, force, acceptShrink }: Request, io: Io): Promise<number> {
  const line = progress(io);
  const { outcomes, build } = await pullConfigured(config, {
    names: words.length === 0 ? [] : [...words, ...acceptShrink],
    acceptShrink,
    force,
    onBytes: (feed, bytes) => line.add(feed, bytes),
    onDone: () => line.clear(),
  });
  const failed =
    build.revision === '' ||
    [...outcomes.values()].some(({ kind }) => kind === 'failed') ||
    build.feeds.some(({ error }) => error !== '');
  if (json) {
    const { revision, feeds, problems } = build;
    const pulled = Object.fromEntries(
      [...outcomes].map(([name, { kind, ...rest }]) => [name, { outcome: kind, ...summary(rest) }]),
    );
    io.stdout.write(`${JSON.stringify({ ok: !failed, pulled, index: { revision, feeds, problems } })}\n`);
  } else io.stdout.write(columns(pullLines(outcomes, build)));
  for (const problem of build.problems) io.stderr.write(`breakwater feeds: ${problem}\n`);
  if (!json) {
    io.stdout.write(
      build.revision === ''
        ? 'the index was not built: a last good copy is damaged; the index of before stays\n'
        : `index ${build.revision}: ${build.feeds.reduce((sum, { listed }) => sum + listed, 0)} indicators\n`,
    );
  }
  return failed ? 1 : 0;
}

/** What an outcome says for programs. */
function summary(outcome: { meta?: { indicators: number }; message?: string; until?: number }): object {
  return {
    ...(outcome.meta === undefined ? {} : { indicators: outcome.meta.indicators }),
    ...(outcome.message === undefined ? {} : { error: outcome.message }),
    ...(outcome.until === undefined ? {} : { notBefore: new Date(outcome.until) }),
  };
}

async function list({ config, json }: Request, io: Io): Promise<number> {
  const { feeds, index } = await listConfigured(config);
  if (json) {
    const indicators = index === undefined ? null : { revision: index.revision, ...index.index.counts };
    io.stdout.write(`${JSON.stringify({ index: indicators, feeds })}\n`);
  } else io.stdout.write(listFeeds(feeds, index, Date.now()));
  return 0;
}

async function lookup({ config, words, json }: Request, io: Io): Promise<number> {
  const [text = ''] = words;
  const read = readIndicator(text);
  if (read === undefined) {
    io.stderr.write(`breakwater feeds: ${JSON.stringify(text)} is no address, prefix, domain, URL or hash\n`);
    return 2;
  }
  const found = await lookUp(config, read);
  if (found === undefined) {
    io.stderr.write(
      `breakwater feeds: there is no index in ${config.feeds.state}; try breakwater feeds pull\n`,
    );
    return 1;
  }
  const { type, value, hits } = found;
  if (json) io.stdout.write(`${JSON.stringify({ listed: hits.length > 0, ...found })}\n`);
  else if (hits.length === 0) io.stdout.write(`${type} ${value} is not listed\n`);
  else {
    for (const hit of hits) {
      const threat = hit.threat === '' ? '' : `, ${hit.threat}`;
      const port = hit.port === 0 ? '' : `, port ${hit.port}`;
      io.stdout.write(
        `${type} ${value} is listed: ${hit.type} ${hit.indicator}, feed ${hit.feed}, ${hit.action}, confidence ${hit.confidence}${threat}${port}\n`,
      );
    }
  }
  return hits.length > 0 ? 0 : 1;
}
