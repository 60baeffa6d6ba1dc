import { send } from './engine.js';
import { file, tar } from './tar.js';

/** What a daemon's classic builder made of a Dockerfile. */
export interface Built {
  /** Texts of `Step 1/2 : …`, as far as it came. */
  readonly steps: readonly string[];
  /** The image each FROM resolved to: twelve hexadecimal digits, `""` for scratch. By number of the step, from 0. */
  readonly images: readonly string[];
  /** `""` when it was built. */
  readonly error: string;
  /** Of the finished image. */
  readonly config: ImageConfig | undefined;
}

export interface ImageConfig {
  readonly Env: readonly string[] | null;
  readonly Cmd: readonly string[] | null;
  readonly Entrypoint: readonly string[] | null;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly User: string;
  readonly WorkingDir: string;
  readonly OnBuild: readonly string[] | null;
}

export interface BuildOptions {
  readonly buildArgs?: Readonly<Record<string, string | null>>;
  readonly target?: string;
}

/** Builds on a daemon with the classic builder and no network, then removes the image. */
export async function build(
  socket: string,
  dockerfile: Uint8Array,
  { buildArgs = {}, target = '' }: BuildOptions = {},
): Promise<Built> {
  const query = new URLSearchParams({ version: '1', networkmode: 'none', rm: '1', forcerm: '1', target });
  query.set('buildargs', JSON.stringify(buildArgs));
  const body = tar(file('Dockerfile', Buffer.from(dockerfile)), file('here', 'x'));
  let answer;
  try {
    answer = await send(socket, 'POST', `/build?${query.toString()}`, body);
  } catch (error) {
    // The builder panics on a few files (a file of ARG alone), and the daemon drops the connection.
    return { steps: [], images: [], error: String(error), config: undefined };
  }
  if (answer.status !== 200) {
    const { message } = JSON.parse(answer.body.toString()) as { message: string };
    return { steps: [], images: [], error: message, config: undefined };
  }
  const steps: string[] = [];
  const images: string[] = [];
  let error = '';
  let id = '';
  for (const line of answer.body.toString().split('\r\n')) {
    if (line === '') continue;
    const message = JSON.parse(line) as { stream?: string; error?: string; aux?: { ID?: string } };
    const stream = message.stream ?? '';
    const step = /^Step [0-9]+\/[0-9]+ : ([\s\S]*)$/.exec(stream);
    if (step !== null) steps.push(step[1] ?? '');
    const layer = /^ ---> ([0-9a-f]{12})?\n$/.exec(stream);
    if (layer !== null) images[steps.length - 1] = layer[1] ?? '';
    if (message.error !== undefined) error = message.error;
    id = message.aux?.ID ?? id;
  }
  if (error !== '' || id === '') return { steps, images, error: error || 'no image', config: undefined };
  const inspected = JSON.parse((await send(socket, 'GET', `/images/${id}/json`)).body.toString()) as {
    Config: ImageConfig;
  };
  return { steps, images, error, config: inspected.Config };
}

/** The short id of an image, as build output shows it. */
export async function imageId(socket: string, name: string): Promise<string> {
  const { Id } = JSON.parse((await send(socket, 'GET', `/images/${name}/json`)).body.toString()) as {
    Id: string;
  };
  return Id.replace('sha256:', '').slice(0, 12);
}
