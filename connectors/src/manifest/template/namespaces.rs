//! Namespaces in templates: values with attributes that can be set. One that held itself would never be freed, so only its
//! attributes can be used.

use minijinja::machinery::ast;

use super::lower::{Printed, Printer};

/// The function that makes them.
const NAMESPACE: &str = "namespace";

impl Printer {
    /// What a name is set to: alone here it may be a namespace.
    pub(super) fn assigned(&mut self, target: &ast::Expr<'_>, value: &ast::Expr<'_>) -> Printed {
        if let (ast::Expr::Var(name), ast::Expr::Call(call)) = (target, value)
            && is_namespace(call)
        {
            self.namespaces.push(name.id.to_owned());
            return self.namespace(call);
        }
        self.expression(value)
    }

    fn namespace(&mut self, call: &ast::Call<'_>) -> Printed {
        self.put(NAMESPACE)?;
        self.arguments(&call.args)
    }

    /// A name that stands for a value.
    pub(super) fn name(&mut self, name: &str) -> Printed {
        if name == NAMESPACE || self.namespaces.iter().any(|known| known == name) {
            return Err(format!("`{name}`: a namespace is made by `set`, and only its attributes can be used"));
        }
        self.put(name)
    }

    /// What something is looked up in.
    pub(super) fn owner(&mut self, owner: &ast::Expr<'_>) -> Printed {
        match owner {
            ast::Expr::Var(name) if name.id != NAMESPACE => self.put(name.id),
            ast::Expr::Call(call) if is_namespace(call) => self.namespace(call),
            other => self.operand(other),
        }
    }
}

fn is_namespace(call: &ast::Call<'_>) -> bool {
    matches!(&call.expr, ast::Expr::Var(function) if function.id == NAMESPACE)
}
