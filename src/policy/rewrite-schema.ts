import * as z from 'zod';

const NETWORK = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}$/;
const CAPABILITY = /^(?:ALL|(?:CAP_)?[A-Z][A-Z0-9_]{1,40})$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$/;
const ADDRESS = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const SIZE = /^[1-9]\d{0,14}(?:B|[KMGTkmgt]|[KMGT]i?B)?$/;

const text = z.string().min(1).max(512);
const network = z
  .string()
  .regex(NETWORK, 'must be the name of a network, such as "none", "bridge" or "ci-net"')
  .describe('Name of a network: `none`, `bridge`, or one that was created.');
const size = (words: string) =>
  z
    .union([z.string().regex(SIZE, 'a size such as "512MiB"'), z.number().int().min(1)])
    .describe(`${words} A size such as \`"512MiB"\`, or bytes.`);
const proxy = z.string().min(1).max(2048);

/** What a rule changes in the calls it allows. The meaning of each key is in rewrite-*.ts. */
export const rewriteSchema = z
  .strictObject({
    labels: z
      .record(z.string().min(1).max(512), z.string().max(2048))
      .optional()
      .describe(
        'Labels to set on what the call makes; they win over labels of the client. `${source}`, `${call}` and `${client}` stand for the source of the rule that the caller belongs to, the call id, and the address of the client.',
      ),
    network: z
      .strictObject({
        force: network.optional().describe('Use this network, whatever the call asks for.'),
        default: network.optional().describe('Use this network when the call asks for none.'),
      })
      .optional()
      .describe('The network of new containers and of build steps: exactly one of `force` and `default`.'),
    limits: z
      .strictObject({
        memory: size('Most memory.').optional(),
        memorySwap: size(
          'Most memory and swap together, as the engine counts it; twice the memory if not given. Needs `memory`.',
        ).optional(),
        cpus: z
          .number()
          .min(0.01)
          .max(4096)
          .optional()
          .describe('Most processors, such as 1.5; engines refuse more than the host has.'),
        pids: z.number().int().min(1).max(4_194_304).optional().describe('Most processes and threads.'),
      })
      .optional()
      .describe('Upper bounds. A call that asks for more, for no limit or for nothing gets the bound.'),
    noNewPrivileges: z
      .literal(true)
      .optional()
      .describe('No process of the container gains privileges by a set-user-id program.'),
    readOnlyRoot: z.literal(true).optional().describe('The root file system of the container is read-only.'),
    dropCapabilities: z
      .array(z.string().regex(CAPABILITY, 'must be a capability in capitals, such as "NET_RAW", or "ALL"'))
      .min(1)
      .optional()
      .describe(
        'Capabilities the container is started without, also when the call adds them. With `"ALL"`, what a call adds by name stays, and must be permitted.',
      ),
    user: z
      .string()
      .regex(USER, 'must be a user, or user:group, such as "1000:1000"')
      .optional()
      .describe('The user (and group) that new containers and exec sessions run as.'),
    init: z.literal(true).optional().describe('Run an init process in the container.'),
    dns: z
      .array(z.string().regex(ADDRESS, 'must be the address of a DNS server, such as "10.0.0.53"'))
      .min(1)
      .max(8)
      .optional()
      .describe('The DNS servers of the container, in place of what the call asks for.'),
    proxy: z
      .strictObject({
        http: proxy.optional().describe('URL of the proxy for http.'),
        https: proxy.optional().describe('URL of the proxy for https.'),
        no: proxy.optional().describe('Hosts that are reached without the proxy.'),
      })
      .optional()
      .describe(
        '`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` in capitals and small letters: build arguments of builds, environment variables of containers.',
      ),
    runtime: text.optional().describe('The OCI runtime of the container, such as `"runsc"`.'),
    images: z
      .record(text, text)
      .optional()
      .describe(
        'Image names to replace, such as `"docker.io/library/*": "mirror.example.com/library/*"`. The first match counts; names are complete and without tag; tag and digest stay.',
      ),
    pin: z
      .record(text, z.string().regex(DIGEST, 'must be "sha256:" and 64 hex digits'))
      .optional()
      .describe('Digests of images: `"alpine:3.20": "sha256:…"` makes `alpine:3.20` that very image.'),
    remove: z
      .array(z.string().min(1).max(1024))
      .min(1)
      .optional()
      .describe('Fields (`"/HostConfig/Binds"`) and query parameters (`"?pull"`) to remove.'),
    set: z
      .record(z.string().min(1).max(1024), z.unknown())
      .optional()
      .describe('Fields and query parameters to set: `{"/HostConfig/Init": true, "?nocache": true}`.'),
  })
  .describe(
    'Changes to the calls that this rule allows. The rule is judged on the changed call, and that is what the engine gets.',
  );

export type RewriteShape = z.output<typeof rewriteSchema>;
