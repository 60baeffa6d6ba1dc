import fc from 'fast-check';
import t from 'tap';
import { readDockerfile } from '../../src/docker/dockerfile/read.js';
import type { DockerfileReading, Stage } from '../../src/docker/dockerfile/model.js';
import { UNKNOWN } from '../../src/docker/shell-command.js';
import { build, imageId, type BuildOptions, type Built } from '../support/dockerfiles.js';
import { missing, startEngine } from '../support/engine.js';
import { formatTable } from '../support/table.js';

// How the daemon reads a Dockerfile, against how the guard does. A daemon's build prints each step as it joined the
// line, the image each FROM became, the path a COPY looked for, and leaves variables in the image's configuration.

const skip = missing();

/** Hand-made: text, build arguments, target. No RUN but where it matters, nothing that could fetch. */
const CASES: readonly (readonly [string, string, BuildOptions?])[] = [
  ['plain', 'FROM alpine\nLABEL a=b\n'],
  ['no newline at the end', 'FROM alpine\nLABEL a=b'],
  ['CRLF', 'FROM alpine\r\nENV a=b \\\r\n c=d\r\n'],
  ['double CR', 'FROM alpine\nENV a=b \\\r\r\nUSER x\n'],
  ['CR inside', 'FROM\ralpine\nLABEL a=b\n'],
  ['byte order mark', '\ufeffFROM alpine\n'],
  ['byte order mark and directive', '\ufeff# escape=`\nFROM alpine\nLABEL a=`\nb\n'],
  ['byte order mark twice', '\ufeff\ufeffFROM alpine\n'],
  ['byte order mark before a word', 'FROM \ufeffalpine\n'],
  ['leading blanks', '  \t FROM alpine\n\v\fLABEL a=b\n'],
  ['leading no-break space', '\u00a0FROM alpine\n'],
  ['no-break space as separator', 'FROM\u00a0alpine\n'],
  ['vertical tab as separator', 'FROM\valpine\v\n'],
  ['next line as blank', '\u0085FROM alpine\u0085\n'],
  ['ideographic blank at the end', 'FROM alpine\u3000\n'],
  ['zero width space', 'FROM alpine\u200b\n'],
  ['case', 'fRoM alpine\nlAbEl a=b\nuSeR x\n'],
  ['kelvin sign', 'FROM alpine\nWOR\u212aDIR /x\n'],
  ['dotted capital i', 'FROM alpine\nWORKD\u0130R /x\n'],
  ['long s in AS', 'FROM alpine A\u017f b\nFROM b\nLABEL a=b\n'],
  ['kelvin sign in a stage', 'FROM busybox AS \u212a\nFROM k\n'],
  ['unknown instruction', 'FROM alpine\nFOO bar\n'],
  ['unknown instruction in an unused stage', 'FROM alpine AS a\nFROM alpine\nFOO x\n', { target: 'a' }],
  ['empty', ''],
  ['comments alone', '# a\n#b\n'],
  ['only ARG', 'ARG a\n'],
  ['LABEL before FROM', 'LABEL a=b\nFROM alpine\n'],
  ['comment after instructions', 'FROM alpine\n # c\nLABEL a=b # c\n'],
  ['hash in a value', 'FROM alpine\nLABEL a=#b\n'],
  ['continuation', 'FROM \\\nalpine\nLABEL \\\n a=b \\\n   c=d\n'],
  ['continuation with blanks after', 'FROM \\ \t\nalpine\n'],
  ['continuation with vertical tab after', 'FROM alpine\nENV a=b\\\v\nUSER x\n'],
  ['continuation without a break', 'FR\\\nOM al\\\npine\n'],
  ['continuation keeps blanks', 'FROM alpine\nENV a="x\\\n  y"\n'],
  ['comment in continuation', 'FROM \\\n# c\nalpine\n'],
  ['indented comment in continuation', 'FROM \\\n  # c \\\nalpine\n'],
  ['comment with a continuation', '# c \\\nFROM alpine\n'],
  ['blank lines in continuation', 'FROM \\\n\n  \n\t\nalpine\n'],
  ['continuation at the end', 'FROM alpine\nENV a=b \\\n'],
  ['continuation alone', '\\\nFROM alpine\n'],
  ['continuation alone, twice', '\\\n\\\nFROM alpine\n'],
  ['continuation at the end of an otherwise empty file', '\\\n'],
  ['continuation then comment at the end', 'FROM alpine \\\n# c'],
  ['escaped escape is no continuation', 'FROM alpine\nENV a=x\\\\\nFROM busybox\nLABEL b=c\n'],
  ['three escapes', 'FROM alpine\nENV a=x\\\\\\\nFROM busybox\nLABEL b=c\n'],
  ['escaped escape with blanks', 'FROM alpine\nENV a=x\\\\  \nLABEL b=c\n'],
  ['blank between escapes', 'FROM alpine\nENV a=x\\ \\\n b=c\n'],
  ['escape directive', '# escape=`\nFROM `\nalpine\nLABEL a=x`\ny\n'],
  ['escape directive, spacing and case', '#  EsCaPe  =  `  \nFROM `\nalpine\n'],
  ['escape directive, indented', '   # escape=`\nFROM `\nalpine\n'],
  ['escape directive, tab after #', '#\tescape=`\nFROM `\nalpine\n'],
  ['escape directive, vertical tab', '#\vescape=`\nFROM alpine\nLABEL a=`\n'],
  ['escape directive, no-break space', '#\u00a0escape=`\nFROM alpine\nLABEL a=`\n'],
  ['escape directive after a comment', '# c\n# escape=`\nFROM alpine\nLABEL a=`\nLABEL b=c\n'],
  ['escape directive after a blank line', '\n# escape=`\nFROM alpine\nLABEL a=`\nLABEL b=c\n'],
  ['escape directive after an unknown one', '# foo=bar\n# escape=`\nFROM alpine\nLABEL a=`\nLABEL b=c\n'],
  ['escape directive after syntax', '# syntax=docker/dockerfile:1\n# escape=`\nFROM `\nalpine\n'],
  ['escape directive after check', '# check=skip=all\n# escape=`\nFROM alpine\nLABEL a=`\nLABEL b=c\n'],
  ['escape directive twice', '# escape=`\n# escape=`\nFROM alpine\n'],
  ['escape directive, other character', '# escape=x\nFROM alpine\n'],
  ['escape directive, empty', '# escape=\nFROM alpine\nENV a=b\\\nc\n'],
  ['escape directive, blank', '# escape= \nFROM alpine\n'],
  ['escape directive, two characters', '# escape=``\nFROM alpine\n'],
  ['escape directive in a continuation', 'FROM alpine\nENV a=b \\\n# escape=`\n c=`\n'],
  ['backslash under an escape directive', '# escape=`\nFROM alpine\nENV a=b\\\nLABEL c=d\n'],
  ['flag escapes under an escape directive', '# escape=`\nFROM --plat`form=x alpine\n'],
  ['syntax directive twice', '# syntax=a\n# syntax=b\nFROM alpine\n'],
  ['two FROMs', 'FROM busybox\nFROM alpine\n'],
  ['stage by name', 'FROM busybox AS b\nFROM b\nLABEL a=b\n'],
  ['stage by name, other case', 'FROM busybox aS B\nFROM b\nFROM B\n'],
  ['stage by number is no stage', 'FROM busybox\nFROM 0\n'],
  ['stage named like an image', 'FROM busybox AS alpine\nFROM alpine\n'],
  ['its own name is no stage', 'FROM alpine AS alpine\n'],
  ['stage named scratch', 'FROM busybox AS scratch\nFROM scratch\nLABEL a=b\n'],
  ['stage names twice', 'FROM alpine AS a\nFROM busybox AS a\n'],
  ['stage name with a digit first', 'FROM alpine AS 1a\n'],
  ['stage name odd', 'FROM alpine AS a.b-c_d\nFROM a.b-c_d\n'],
  ['two words', 'FROM alpine b\n'],
  ['four words', 'FROM alpine AS b c\n'],
  ['no words', 'FROM\n'],
  ['scratch', 'FROM scratch\nLABEL a=b\n'],
  ['scratch from a variable', 'ARG A=scratch\nFROM $A\nLABEL a=b\n'],
  ['scratch as a stage', 'FROM scratch AS s\nFROM s\nLABEL a=b\n'],
  ['Scratch', 'FROM Scratch\n'],
  ['FROM in quotes', 'FROM "alpine"\n'],
  ['FROM in part in quotes', 'FROM al\'pi\'"ne"\n'],
  ['FROM with an escape', 'FROM al\\pine\n'],
  ['FROM with an escape at the end', 'FROM alpine\\ \nLABEL a=b\n'],
  ['FROM with a tag', 'FROM alpine:latest\n'],
  ['FROM with the domain', 'FROM docker.io/library/alpine\n'],
  ['target', 'FROM alpine AS a\nFROM busybox AS b\nFROM alpine\n', { target: 'b' }],
  ['target, other case', 'FROM alpine AS a\nFROM busybox\n', { target: 'A' }],
  ['target by number', 'FROM alpine AS a\nFROM busybox\n', { target: '0' }],
  ['target unknown', 'FROM alpine AS a\n', { target: 'x' }],
  ['target, kelvin sign', 'FROM alpine AS k\nFROM busybox\n', { target: '\u212a' }],
  ['ARG default', 'ARG A=alpine\nFROM $A\n'],
  ['ARG in braces', 'ARG A=alp\nFROM ${A}ine\n'],
  ['ARG override', 'ARG A=busybox\nFROM $A\n', { buildArgs: { A: 'alpine' } }],
  ['ARG null override', 'ARG A=alpine\nFROM $A\n', { buildArgs: { A: null } }],
  ['ARG empty override', 'ARG A=busybox\nFROM ${A:-alpine}\n', { buildArgs: { A: '' } }],
  ['ARG not declared', 'FROM ${A:-alpine}\n', { buildArgs: { A: 'busybox' } }],
  ['ARG unset', 'ARG A\nFROM ${A:-alpine}\n'],
  ['ARG from the call', 'ARG A\nFROM ${A:-busybox}\n', { buildArgs: { A: 'alpine' } }],
  ['ARG of another', 'ARG A=alp\nARG B=${A}ine\nFROM $B\n'],
  ['ARG twice', 'ARG A=busybox\nARG A=alpine\nFROM $A\n'],
  ['ARG taken back', 'ARG A=busybox\nARG A\nFROM ${A:-alpine}\n'],
  ['several in one ARG', 'ARG A=alp B=ine\nFROM $A$B\n'],
  ['several in one ARG see the old values', 'ARG A=alpine\nARG A=busybox B=$A\nFROM $B\n'],
  ['ARG quoted', 'ARG A="alpine"\nFROM $A\n'],
  ['ARG with a name from a variable', 'ARG A=B\nARG $A=alpine\nFROM $B\n'],
  ['ARG with blanks', 'ARG A="x y"\nFROM alpine\nARG A\nENV a=$A\n'],
  ['ARG with flags', 'FROM alpine\nARG --x A=b\nENV a=$A\n'],
  ['ARG in a stage does not reach FROM', 'ARG A=alpine\nFROM alpine\nARG A=busybox\nFROM $A\n'],
  ['meta ARG is not in a stage', 'ARG A=x\nFROM alpine\nENV a=$A\n'],
  ['meta ARG declared again', 'ARG A=x\nFROM alpine\nARG A\nENV a=$A\n'],
  ['meta ARG declared with a default', 'ARG A=x\nFROM alpine\nARG A=y\nENV a=$A\n'],
  ['ARG ends with its stage', 'FROM alpine AS a\nARG A=x\nFROM a\nENV a=$A\n'],
  ['ENV does not end with its stage', 'FROM alpine AS a\nENV A=x\nFROM a\nENV a=$A\n'],
  ['ENV beats ARG', 'FROM alpine\nENV A=x\nARG A=y\nENV a=$A\n', { buildArgs: { A: 'z' } }],
  ['ENV of the old kind', 'FROM alpine\nENV A  x  y\nENV a="$A"\n'],
  ['ENV sees the old values', 'FROM alpine\nENV A=1\nENV A=2 B=$A\nENV a=$A b=$B\n'],
  ['ENV name from a variable', 'FROM alpine\nENV X=A=B\nENV $X=C\nENV a=$A\n'],
  ['ENV of a base image', 'FROM alpine\nENV a=${NOPE:-x} b=${NOPE:+y}\n'],
  ['proxy argument undeclared', 'FROM alpine\nENV a=$HTTP_PROXY\n', { buildArgs: { HTTP_PROXY: 'p' } }],
  ['proxy argument in FROM', 'FROM $http_proxy\n', { buildArgs: { http_proxy: 'alpine' } }],
  ['proxy argument from a meta ARG', 'ARG NO_PROXY=x\nFROM alpine\nENV a=$NO_PROXY\n'],
  ['ALL_PROXY', 'FROM alpine\nENV a=x$ALL_PROXY\n', { buildArgs: { ALL_PROXY: 'p' } }],
  ['nested default', 'ARG A=alpine\nFROM ${B:-${C:-$A}}\n'],
  ['alternative', 'ARG A=busybox\nFROM ${A:+alpine}\n'],
  ['alternative of empty', 'ARG A=\nFROM alpine${A:+x}\n'],
  ['default without colon', 'ARG A=\nFROM alpine${A-x}\n'],
  ['prefix operator', 'ARG A=xalpine\nFROM ${A#x}\n'],
  ['suffix operator', 'ARG A=alpinex\nFROM ${A%x}\n'],
  ['error operator', 'FROM ${A:?no}\n'],
  ['error operator, set', 'ARG A=alpine\nFROM ${A:?no}\n'],
  ['question mark', 'ARG A=alpine\nFROM ${A?no}\n'],
  ['bad modifier', 'ARG A=alpine\nFROM ${A:x}\n'],
  ['bad substitution', 'FROM ${}\n'],
  ['unclosed brace', 'FROM ${A\n'],
  ['unclosed quote', 'FROM "alpine\n'],
  ['dollar alone', 'FROM alpine\nENV a=$ b=x$ c=$%\n'],
  ['digits', 'FROM alpine\nENV a=$1x b=$12 c=${1:-y}\n'],
  ['special parameters', 'FROM alpine\nENV a=$$b c=$?d e=$#\n'],
  ['letters of names', 'FROM alpine\nENV \u00e9=x\nENV a=$\u00e9 b=${\u00e9}y\n'],
  ['single quotes keep dollars', 'FROM alpine\nENV A=x\nENV a=\'$A\' b="$A" c=\\$A\n'],
  ['escapes in double quotes', 'FROM alpine\nENV a="x\\"y\\z\\\\" b="\\$A"\n'],
  ['escape in single quotes', "FROM alpine\nENV a='x\\y'\n"],
  ['escaped blank', 'FROM alpine\nENV a=x\\ y b=c\n'],
  ['escape at the end of a word', 'FROM alpine\nENV a=x\\\\ b=c\n'],
  ['quotes within a word', 'FROM alpine\nENV a=x"y z"w b=\'\'\n'],
  ['label of the old kind', 'FROM alpine\nLABEL a x y\n'],
  ['label without a value', 'FROM alpine\nLABEL a\n'],
  ['label with a bad pair', 'FROM alpine\nLABEL a=b c\n'],
  ['label with an empty name', 'FROM alpine\nLABEL =b\n'],
  ['quoted label name', 'FROM alpine\nLABEL "a b"=c\n'],
  ['user', 'FROM alpine\nARG U=app\nUSER ${U}:$U\n'],
  ['user with blanks', 'FROM alpine\nUSER a b\n'],
  ['user empty', 'FROM alpine\nUSER\n'],
  ['cmd shell form', 'FROM alpine\nCMD echo "a  b" $HOME\n'],
  ['cmd exec form', 'FROM alpine\nCMD ["a", "b c"]\n'],
  ['cmd exec form, spread', 'FROM alpine\nCMD [ "a" \\\n , "b" ]\n'],
  ['cmd exec form, single quotes', "FROM alpine\nCMD ['a']\n"],
  ['cmd exec form, trailing comma', 'FROM alpine\nCMD ["a",]\n'],
  ['cmd exec form, escapes', 'FROM alpine\nCMD ["\\u0061\\n\\/"]\n'],
  ['cmd exec form, bad escape', 'FROM alpine\nCMD ["\\x61"]\n'],
  ['cmd exec form, control character', 'FROM alpine\nCMD ["a\tb"]\n'],
  ['cmd exec form, half surrogate', 'FROM alpine\nCMD ["\\ud800"]\n'],
  ['cmd exec form, surrogates', 'FROM alpine\nCMD ["\\ud83d\\ude00"]\n'],
  ['cmd exec form, text after', 'FROM alpine\nCMD ["a"] && b\n'],
  ['cmd exec form, two arrays', 'FROM alpine\nCMD ["a"]["b"]\n'],
  ['cmd exec form, number', 'FROM alpine\nCMD ["a", 1]\n'],
  ['cmd exec form, null', 'FROM alpine\nCMD [null]\n'],
  ['cmd exec form, nested', 'FROM alpine\nCMD [["a"]]\n'],
  ['cmd exec form, empty', 'FROM alpine\nCMD []\n'],
  ['cmd exec form, unclosed', 'FROM alpine\nCMD ["a"\n'],
  ['cmd object', 'FROM alpine\nCMD {"a": 1}\n'],
  ['cmd exec form, no-break space before', 'FROM alpine\nCMD \u00a0["a"]\n'],
  ['cmd with a flag', 'FROM alpine\nCMD --x a\n'],
  ['cmd with dashes', 'FROM alpine\nCMD -- --x a\n'],
  ['cmd empty', 'FROM alpine\nCMD\n'],
  ['entrypoint', 'FROM alpine\nENTRYPOINT ["a"]\nCMD b\n'],
  ['shell', 'FROM alpine\nSHELL ["/bin/sh", "-xc"]\nCMD a\n'],
  ['shell of a stage', 'FROM alpine AS a\nSHELL ["/x", "-y"]\nFROM a\nCMD z\n'],
  ['shell not JSON', 'FROM alpine\nSHELL /bin/sh\n'],
  ['shell empty', 'FROM alpine\nSHELL []\n'],
  ['healthcheck', 'FROM alpine\nHEALTHCHECK --interval=5s CMD a b\n'],
  ['healthcheck none', 'FROM alpine\nHEALTHCHECK none\n'],
  ['healthcheck none with words', 'FROM alpine\nHEALTHCHECK NONE a\n'],
  ['healthcheck unknown', 'FROM alpine\nHEALTHCHECK FOO a\n'],
  ['healthcheck unknown flag', 'FROM alpine\nHEALTHCHECK --x=1 CMD a\n'],
  ['maintainer', 'FROM alpine\nMAINTAINER a b <c>\n'],
  ['expose', 'FROM alpine\nARG P="80 81"\nEXPOSE $P 90/udp\n'],
  ['volume', 'FROM alpine\nVOLUME ["/a", "/b c"]\nVOLUME /d /e\n'],
  ['stopsignal with a flag', 'FROM alpine\nSTOPSIGNAL --x SIGTERM\n'],
  ['onbuild', 'FROM alpine\nONBUILD ENV a=$A\n'],
  ['onbuild, spacing and case', 'FROM alpine\n onBuild   label   a=b \n'],
  ['onbuild of a stage', 'FROM alpine AS a\nONBUILD ENV A=x\nONBUILD ENV a=$A\nFROM a\nLABEL b=$A\n'],
  [
    'onbuild of a stage, once',
    'FROM alpine AS a\nONBUILD ENV A=x\nFROM a AS b\nENV A=y\nFROM b\nLABEL b=$A\n',
  ],
  ['onbuild onbuild', 'FROM alpine\nONBUILD ONBUILD LABEL a=b\n'],
  ['onbuild from', 'FROM alpine\nONBUILD FROM busybox\n'],
  ['onbuild unknown', 'FROM alpine\nONBUILD FOO\n'],
  ['onbuild empty', 'FROM alpine\nONBUILD\n'],
  ['onbuild under an escape directive', '# escape=`\nFROM alpine\nONBUILD ENV a=b\\\n'],
  ['copy', 'FROM alpine\nCOPY here /x\n'],
  ['copy a variable', 'FROM alpine\nENV A=no\nCOPY $A/${B:-pe} /x\n'],
  ['copy JSON', 'FROM alpine\nCOPY ["no pe", "/x"]\n'],
  ['copy JSON with a variable', 'FROM alpine\nENV A=no\nCOPY ["$A pe", "/x"]\n'],
  ['copy in quotes', 'FROM alpine\nCOPY "no pe" /x\n'],
  ['copy, one word', 'FROM alpine\nCOPY a\n'],
  ['copy from a stage', 'FROM alpine AS a\nFROM busybox\nCOPY --from=a /nope /x\n'],
  ['copy from a stage by number', 'FROM alpine\nFROM busybox\nCOPY --from=+0 /nope /x\n'],
  ['copy from a stage, quoted', 'FROM alpine AS a\nFROM busybox\nCOPY --from="a" /nope /x\n'],
  ['copy from a stage, escaped', 'FROM alpine AS a\nFROM busybox\nCOPY --fr\\om=\\a /nope /x\n'],
  ['copy from itself', 'FROM alpine AS a\nCOPY --from=0 /nope /x\n'],
  ['copy from a variable', 'ARG A=a\nFROM alpine AS a\nFROM busybox\nCOPY --from=$A /nope /x\n'],
  ['copy from, twice', 'FROM alpine AS a\nFROM busybox\nCOPY --from=a --from=b /nope /x\n'],
  ['copy, unknown flag', 'FROM alpine\nCOPY --nope=a here /x\n'],
  ['copy, flag without a value', 'FROM alpine\nCOPY --from here /x\n'],
  ['copy, flag after words', 'FROM alpine\nCOPY here --from=a /x/\n'],
  ['copy, dashes', 'FROM alpine\nCOPY -- --no /x\n'],
  ['copy, letters in a flag', 'FROM alpine\nCOPY --chown=\u00e0 here /x\n'],
  ['add a closed port', 'FROM alpine\nADD http://127.0.0.1:1/x /x\n'],
  ['add a closed port from a variable', 'FROM alpine\nARG H=127.0.0.1\nADD http://$H:1/${X:-y} /x\n'],
  ['add a capital scheme', 'FROM alpine\nADD HTTP://127.0.0.1:1/x /x\n'],
  ['add a repository', 'FROM alpine\nADD git@127.0.0.1:x.git /x\n'],
  ['run with a mount', 'FROM alpine\nRUN --mount=type=tmpfs,target=/x true\n'],
  ['run with a network', 'FROM alpine\nRUN --network=host true\n'],
  ['run JSON', 'FROM alpine\nRUN ["true"]\n'],
  ['run in a continuation', 'FROM alpine\nRUN true && \\\n# c\n\n  true\n'],
  ['heredoc', 'FROM alpine\nRUN cat <<EOF\nx\nEOF\n'],
  ['heredoc that ends in a comment', 'FROM alpine\nRUN cat <<#\nLABEL a=b\n#\n'],
  ['heredoc that ends in an instruction', 'FROM alpine\nCOPY <<CMD /x\nLABEL a=b\nCMD\n'],
  ['heredoc with a blank', 'FROM alpine\nRUN cat << #\nLABEL a=b\n#\n'],
  ['heredoc in quotes', 'FROM alpine\nRUN cat <<"#"\nLABEL a=b\n#\n'],
  ['heredoc in ONBUILD', 'FROM alpine\nONBUILD RUN cat <<#\nLABEL a=b\n#\n'],
  ['shift operator', 'FROM alpine\nRUN test $((1 << 3)) = 8\n'],
  ['NUL', 'FROM alpine\nLABEL a=x\0y\n'],
  ['NUL in a comment', 'FROM alpine\n# \0\nLABEL a=b\n'],
  ['long line', `FROM alpine\nENV a=${'x'.repeat(65_527)}\n`],
  ['too long line', `FROM alpine\nENV a=${'x'.repeat(65_528)}\n`],
  ['too long comment', `FROM alpine\n#${'x'.repeat(65_536)}\nLABEL a=b\n`],
  ['long by continuation', `FROM alpine\nENV a=${'x'.repeat(40_000)}\\\n${'x'.repeat(40_000)}\n`],
  ['deep substitution', `FROM ${'${A:-'.repeat(40)}alpine${'}'.repeat(40)}\n`],
];

const BYTES: readonly (readonly [string, readonly number[]])[] = [
  ['Latin-1 in a comment', [...Buffer.from('# caf'), 0xe9, ...Buffer.from('\nFROM alpine\nLABEL a=b\n')]],
  ['Latin-1 in a label', [...Buffer.from('FROM alpine\nLABEL a='), 0xe9, 0x0a]],
  ['UTF-16', [...Buffer.from('\ufeffFROM alpine\n', 'utf16le')]],
];

/** Pieces of which random Dockerfiles are made: mostly well-formed, so that the engine comes to the end of many. */
const value = fc.constantFrom(
  'x',
  '$A',
  '${A}',
  '${B:-d}',
  '${A:+e}',
  '"x y"',
  "'$A'",
  '\\$',
  '"\\""',
  '#',
  'a=b',
  '',
  '\u00e9',
);
const odd = fc.constantFrom(
  '"',
  "'",
  '\\',
  '`',
  '${',
  '$',
  '\\\\',
  '\\\\\n',
  '\u00a0',
  '\v',
  '\r',
  '<<',
  '["a"]',
  '--x',
);
const word = fc.oneof({ weight: 20, arbitrary: value }, { weight: 1, arbitrary: odd });
const gap = fc.constantFrom(' ', ' ', '  ', '\t', ' \\\n', '\\\n ', ' \\\n# c\n', ' \\  \n', ' \\\n\n');
const pair = fc.tuple(fc.constantFrom('A', 'B', 'C'), word, word).map(([name, a, b]) => `${name}=${a}${b}`);
const pairs = fc
  .tuple(
    fc.constantFrom('LABEL', 'ENV', 'ARG', 'env'),
    fc.array(fc.tuple(gap, pair), { minLength: 1, maxLength: 3 }),
  )
  .map(([name, rest]) => name + rest.flat().join(''));
const words = fc
  .tuple(
    fc.constantFrom('CMD', 'ENTRYPOINT', 'USER', 'MAINTAINER'),
    fc.array(fc.tuple(gap, word), { minLength: 1, maxLength: 4 }),
  )
  .map(([name, rest]) => name + rest.flat().join(''));
const argv = fc
  .tuple(
    fc.constantFrom('CMD', 'ENTRYPOINT', 'SHELL'),
    gap,
    fc.constantFrom('["a"]', '[ "a","b c" ]', '["a" \\\n,"b"]', '["$A"]', '["a",]'),
  )
  .map((parts) => parts.join(''));
const line = fc.oneof(
  { weight: 3, arbitrary: pairs },
  { weight: 2, arbitrary: words },
  { weight: 1, arbitrary: argv },
);
const top = fc.constantFrom(
  '',
  '',
  '',
  '# escape=`\n',
  '# c\n# escape=`\n',
  '\ufeff',
  'ARG A=alpine\n',
  '#escape = `\n\n',
);
const from = fc.constantFrom(
  'FROM alpine\n',
  'FROM alpine AS s\n',
  'FROM ${A:-alpine}\n',
  'FROM \\\nalpine\n',
  'FROM "alp"ine\n',
);
const second = fc.constantFrom('', '', 'FROM s\n', 'FROM busybox\n', 'FROM scratch\n');
const random = fc
  .tuple(top, from, fc.array(line, { maxLength: 3 }), second, fc.array(line, { maxLength: 3 }))
  .map(([a, b, c, d, e]) => `${a}${b}${c.join('\n')}\n${d}${e.join('\n')}\n`);

/** Seed of the random ones; their number is bounded by what an engine does in some seconds. */
const SEED = Number(process.env['BREAKWATER_FUZZ_SEED'] ?? 2026);
const RANDOM = 400;

/** What differs between the engine's build and our reading, in words; empty when nothing does. */
function compare(
  reading: DockerfileReading & { clear: true },
  built: Built,
  ids: ReadonlyMap<string, string>,
): string[] {
  const wrong: string[] = [];
  const expected = reading.steps.map(({ text }) => text);
  built.steps.forEach((step, index) => {
    if (step.trim() !== expected[index]?.trim()) {
      wrong.push(`step ${index + 1}: ${JSON.stringify(step)} but read ${JSON.stringify(expected[index])}`);
    }
  });
  if (built.error === '' && built.steps.length !== expected.length) wrong.push('not all steps');
  const froms = expected
    .map((step, index) => [step, index] as const)
    .filter(([step]) => /^from\b/i.test(step));
  reading.stages.forEach(({ base }, index) => {
    const at = froms[index]?.[1] ?? -1;
    const id = built.images[at];
    if (id === undefined || base.kind === 'stage') return;
    // Triggers of a base stage commit before the step's layer is shown; images have none.
    if (ids.get(base.image) !== id) wrong.push(`FROM ${base.image} became ${id}`);
  });
  const last = reading.stages.at(-1);
  if (built.config !== undefined && last !== undefined)
    wrong.push(...compareConfig(last, built, reading.stages));
  const path =
    /(?:stat |no source files|file not found)[^:]*?(?:stat )?([^:]*): (?:file does not exist|no such file)/.exec(
      built.error,
    )?.[1];
  if (path !== undefined && built.error.startsWith('COPY failed: file not found')) {
    const sources = reading.stages.flatMap(({ sources }) =>
      sources.map(({ text }) => text.replaceAll(UNKNOWN, '')),
    );
    if (!sources.includes(path.trim()))
      wrong.push(`COPY looked for ${JSON.stringify(path)}, read ${JSON.stringify(sources)}`);
  }
  const url = /^ADD failed: Get "?(http[^"\s]*)"?: dial/.exec(built.error)?.[1];
  const adds = reading.stages.flatMap(({ sources }) => sources.map(({ text }) => text));
  if (url !== undefined && !adds.includes(url))
    wrong.push(`ADD fetched ${url}, read ${JSON.stringify(adds)}`);
  return wrong;
}

function compareConfig(last: Stage, { config }: Built, stages: readonly Stage[]): string[] {
  const wrong: string[] = [];
  if (config === undefined) return wrong;
  const chain: Stage[] = [];
  for (let stage: Stage | undefined = last; stage !== undefined;) {
    chain.unshift(stage);
    stage = stage.base.kind === 'stage' ? stages[stage.base.index] : undefined;
  }
  const user = chain.flatMap(({ users }) => users).at(-1);
  if (user?.includes(UNKNOWN) === false && config.User !== user) {
    wrong.push(`user ${JSON.stringify(config.User)}, read ${JSON.stringify(user)}`);
  }
  for (const entry of config.Env ?? []) {
    const equals = entry.indexOf('=');
    const read = last.variable(entry.slice(0, equals));
    // PATH is the base image's. What depends on the base image is not compared.
    if (entry.startsWith('PATH=') || read?.includes(UNKNOWN) === true) continue;
    if (read !== entry.slice(equals + 1)) {
      wrong.push(`env ${JSON.stringify(entry)}, read ${JSON.stringify(read)}`);
    }
  }
  const commands = chain.flatMap(({ commands }) => commands);
  const cmd = commands.filter(({ instruction }) => instruction === 'cmd').at(-1);
  if (cmd !== undefined && config.Cmd !== null) {
    const argv = cmd.form === 'exec' ? cmd.args : [...cmd.shell, ...cmd.args];
    if (JSON.stringify(argv) !== JSON.stringify(config.Cmd)) {
      wrong.push(`cmd ${JSON.stringify(config.Cmd)}, read ${JSON.stringify(argv)}`);
    }
  }
  const { triggers } = last;
  if (JSON.stringify((config.OnBuild ?? []).map((one) => one.trim())) !== JSON.stringify(triggers)) {
    wrong.push(`onbuild ${JSON.stringify(config.OnBuild)}, read ${JSON.stringify(triggers)}`);
  }
  return wrong;
}

/** Refusals of what this engine builds: other engines do something else with it, or it is nobody's honest file. */
const AMBIGUOUS =
  /carriage returns|after the JSON array|surrogate|byte order mark|NUL byte|not UTF-8|unusual blank|check directive|heredoc|named scratch|other letters|escape in a flag|not set|is not read|FROM names no image|needs an image|target|unknown instruction|together with an escape|other things than strings|nested too deep|two stages/;

void t.test(
  'a classic builder and the guard read the same',
  { skip: skip ?? false, timeout: 580_000 },
  async (t) => {
    const engine = await startEngine();
    t.teardown(() => engine.stop());
    const ids = new Map<string, string>([['scratch', '']]);
    for (const name of ['alpine', 'busybox']) {
      const id = await imageId(engine.socket, name);
      for (const form of [name, `${name}:latest`, `docker.io/library/${name}`]) ids.set(form, id);
    }
    const tally = {
      same: 0,
      'same, build fails': 0,
      'refused by both': 0,
      'refused by the guard alone': 0,
      'not run': 0,
    };

    const check = async (title: string, bytes: Uint8Array, options: BuildOptions = {}): Promise<void> => {
      const reading = readDockerfile(bytes, { buildArgs: {}, target: '', platform: '', ...options });
      if (reading.clear) {
        // A base that is not here would be asked for at a registry.
        const local = reading.stages.every(({ base, copies }) =>
          [base, ...copies].every(
            (one) => one.kind === 'stage' || ids.has(one.image) || /[A-Z$]/.test(one.image),
          ),
        );
        if (!local) {
          tally['not run']++;
          return;
        }
      }
      const built = await build(engine.socket, bytes, options);
      if (reading.clear) {
        const wrong = compare(reading, built, ids);
        t.same(wrong, [], `${title}: ${built.error.slice(0, 200)}`);
        tally[built.error === '' ? 'same' : 'same, build fails']++;
      } else if (built.error === '') {
        t.match(reading.reason, AMBIGUOUS, `${title}: refused, though it builds`);
        tally['refused by the guard alone']++;
      } else tally['refused by both']++;
    };

    for (const [title, text, options] of CASES) await check(title, Buffer.from(text), options);
    for (const [title, bytes] of BYTES) await check(title, Uint8Array.from(bytes));
    for (const [index, text] of fc.sample(random, { seed: SEED, numRuns: RANDOM }).entries()) {
      await check(`random ${index}: ${JSON.stringify(text)}`, Buffer.from(text));
    }
    t.comment(
      `${engine.version}, random ones of seed ${SEED}\n` +
        formatTable(
          ['outcome', 'Dockerfiles'],
          Object.entries(tally).map(([name, count]) => [name, String(count)]),
        ),
    );
    t.ok(tally.same > 150, 'most are built, and alike');
  },
);
