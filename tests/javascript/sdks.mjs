// The official SDKs, of which only the base URL and the key are changed, with a good mail, faulty ones and a batch.
// Prints what each call came to, as one JSON object by name.
import sendgrid from "@sendgrid/mail";
import { ServerClient } from "postmark";
import { Resend } from "resend";

const url = new URL(process.env.MAILSVC_URL);
const key = process.env.MAILSVC_API_KEY;
const [from, to] = ["Shop <shop@example.com>", "ann@example.com"];
const came = {};

async function say(name, call) {
  try {
    came[name] = await call();
  } catch (error) {
    const body = error.response?.body;
    came[name] = { raised: error.name, code: error.code, status: error.statusCode, message: error.message, body };
  }
}

const mail = { from, to: [to], subject: "Hi", html: "<p>Hi</p>", replyTo: "a@example.com" };
const resend = new Resend(key, { baseUrl: `${url.origin}/compat/resend` });
const more = { tags: [{ name: "order", value: "42" }], attachments: [{ filename: "a.txt", content: Buffer.from("hi") }] };
await say("resend", () => resend.emails.send({ ...mail, ...more }, { idempotencyKey: "once" }));
await say("resend again", () => resend.emails.send({ ...mail, ...more }, { idempotencyKey: "once" }));
await say("resend look", () => resend.emails.get(came.resend.data.id));
await say("resend batch", () => resend.batch.send([mail, mail]));
const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
await say("resend later", () => resend.emails.send({ ...mail, scheduledAt: tomorrow }));
await say("resend too late", () => resend.emails.send({ ...mail, scheduledAt: "2099-01-01T00:00:00Z" }));
await say("resend faulty", () => resend.emails.send({ ...mail, to: ["ann"] }));
await say("resend key", () =>
  new Resend("wrong", { baseUrl: `${url.origin}/compat/resend` }).emails.send(mail),
);

const message = { from: { email: "shop@example.com", name: "Shop" }, to, subject: "Hi", text: "Hi", html: "<p>Hi</p>" };
sendgrid.setApiKey(key);
sendgrid.client.setDefaultRequest("baseUrl", `${url.origin}/compat/sendgrid/`);
const told = ([answer]) => ({ status: answer.statusCode, id: answer.headers["x-message-id"] });
await say("sendgrid", async () => told(await sendgrid.send({ ...message, customArgs: { order: "42" } })));
await say("sendgrid many", async () =>
  told(await sendgrid.sendMultiple({ ...message, to: [to, "bob@example.com"] })),
);
await say("sendgrid faulty", async () => told(await sendgrid.send({ ...message, to: "ann" })));

const options = { requestHost: `${url.host}/compat/postmark`, useHttps: url.protocol === "https:" };
const postmark = new ServerClient(key, options);
const letter = { From: from, To: to, Subject: "Hi", TextBody: "Hi", Metadata: { order: "42" }, Tag: "order" };
await say("postmark", () => postmark.sendEmail(letter));
await say("postmark batch", () => postmark.sendEmailBatch([letter, { ...letter, To: "ann" }]));
await say("postmark faulty", () => postmark.sendEmail({ ...letter, To: "ann" }));
await say("postmark key", () => new ServerClient("wrong", options).sendEmail(letter));

console.log(JSON.stringify(came));
