// One step of PouchDB: `node pouchdb.mjs MODULES STEP ARGUMENTS`. Documents come as lines of JSON, each with an `_id`.
import { createRequire } from "module";
import { createReadStream, writeFileSync } from "fs";
import { createInterface } from "readline";

const [modules, step, ...args] = process.argv.slice(2);
const PouchDB = createRequire(modules + "/package.json")("pouchdb-node");

const lines = (path) => createInterface({ input: createReadStream(path) });

async function write(place, path) {
    const database = new PouchDB(place);
    let batch = [];
    const flush = async () => {
        const known = await database.allDocs({ keys: batch.map((one) => one._id) });
        known.rows.forEach((row, index) => { if (row.value) batch[index]._rev = row.value.rev; });
        const said = await database.bulkDocs(batch);
        if (said.some((one) => one.error)) throw new Error(JSON.stringify(said.find((one) => one.error)));
        batch = [];
    };
    for await (const line of lines(path)) {
        batch.push(JSON.parse(line));
        if (batch.length === 1000) await flush();
    }
    if (batch.length) await flush();
}

async function replicate(from, to) {
    await PouchDB.replicate(new PouchDB(from), new PouchDB(to), { batch_size: 1000 });
}

async function dump(place, path) {
    const all = await new PouchDB(place).allDocs({ include_docs: true });
    writeFileSync(path, all.rows.map((row) => JSON.stringify(row.doc)).join("\n"));
}

await { write, replicate, dump }[step](...args);
