//! How the mapped columns fit the mapping: what the database would make of the values, and which new rows can't do without.

use super::plan::{Content, Plans};
use super::session::Session;
use crate::connector::column::Column;

/// Describes the columns of all mapped fields.
pub(super) fn columns(plans: &Plans, session: &dyn Session) -> Vec<Column> {
    let mut columns = Vec::new();
    for plan in &plans.list {
        for field in &plan.fields {
            let fits = match &field.content {
                Content::Plain(kind) => session.keeps(&field.declared, *kind),
                Content::Ref(_) => true,
            };
            columns.push(Column {
                dataset: plan.name.clone(),
                field: field.name.clone(),
                kind: plan.spec.fields[&field.name].field_type().expect("a checked field has a type or a reference"),
                column: format!("{}.{}", plan.spec.table, field.columns.names()),
                declared: field.declared.clone(),
                fits,
                is_scoped: field.least.is_some(),
                needed: field.not_null && !field.has_default && !plan.spec.stub.contains_key(&field.name),
            });
        }
    }
    columns
}
